-- A disk of its own for a node, mounted in a mount namespace that is gone with its holder, so nothing stays
-- mounted whatever ends this process: an ext4 image, whose power can be cut, or a small one in memory.
--
--     local disk, why = disk.create(dir)           -- nil where this cannot be had: no root, no loop devices
--     local node = evrt.start { wrap = disk:wrap(), config = { store = { path = disk.path .. "/data" } } }
--     disk:cut()                                    -- from now on nothing reaches the image
--     node:stop "sigkill"; disk:unmount(); disk:mount()
--
-- cut() shuts the file system down without flushing even its log (EXT4_IOC_SHUTDOWN): what was in the page cache
-- only is lost, as in a power cut of a machine whose disk keeps what it was told to keep.
--
--     local disk, why = disk.small(dir, 8)          -- 8 MiB; disk:resize(400)
local ffi = require "ffi"
local uv = require "luv"
local evrt = require "spec.support.evrt"

ffi.cdef [[
int open(const char *path, int flags, ...);
int close(int fd);
int ioctl(int fd, unsigned long request, ...);
]]
local C = ffi.C

local O_DIRECTORY = 65536
local EXT4_IOC_SHUTDOWN, NOLOGFLUSH = 0x8004587d, 2
local SIZE = 3 * 2 ^ 30 -- sparse

local disk = {}
local Disk = {}
Disk.__index = Disk

local function run(...)
    local words = { ... }
    local program = table.remove(words, 1)
    local ok, node = pcall(evrt.spawn, { program = program, args = words })
    if not ok then return nil, node end
    node:wait()
    if node.code ~= 0 then return nil, ("%s: %s"):format(program, node:said():gsub("\n", " ")) end
    return table.concat(node.out, "\n")
end

--- Mounts it; nil and why not when that is not possible.
function Disk:mount()
    local script = 'mount "$@" && echo mounted && exec sleep 100000'
    local args = { "--mount", "--propagation", "private", "sh", "-c", script, "sh" }
    for _, word in ipairs(self.what) do args[#args + 1] = word end
    args[#args + 1] = self.path
    self.holder = evrt.spawn { program = "unshare", args = args }
    local ok = pcall(self.holder.await, self.holder, "the disk to be mounted",
        function() return self.holder.out[1] == "mounted" end)
    if ok then return self end
    self.holder:stop "sigkill"
    return nil, "cannot mount: " .. self.holder:said():gsub("\n", " ")
end

--- Unmounts it. Nothing may run on it any more.
function Disk:unmount()
    local why
    evrt.await(function() return "the disk to be unmounted: " .. tostring(why) end, function()
        local ok
        ok, why = self:inside("umount", self.path)
        return ok
    end)
    self.holder:stop "sigkill"
    if not self.image then return end
    -- A process that ends late may still have it mounted in a namespace of its own.
    evrt.await("the image to be let go", function() return run("losetup", "-j", self.image) == "" end)
end

--- For evrt.start's `wrap`.
function Disk:wrap()
    return { "nsenter", "--mount=/proc/" .. self.holder.pid .. "/ns/mnt", "--wd=" .. self.dir, "--" }
end

-- Runs a command where the disk is to be seen.
function Disk:inside(...)
    return run("nsenter", "--mount=/proc/" .. self.holder.pid .. "/ns/mnt", ...)
end

--- Runs the binary's own commands where the disk is to be seen: exit code and what was printed.
function Disk:run(args)
    local code, out, err = evrt.run(args, { wrap = self:wrap() })
    return code, out .. err
end

--- Another size for a small disk, in MiB.
function Disk:resize(mib)
    assert(self:inside("mount", "-o", ("remount,size=%dm"):format(mib), self.path))
end

--- Cuts the power; true, or nil and why not.
function Disk:cut()
    local fd = C.open(("/proc/%d/root%s"):format(self.holder.pid, self.path), O_DIRECTORY)
    assert(fd >= 0, "cannot open the disk")
    local rc = C.ioctl(fd, EXT4_IOC_SHUTDOWN, ffi.new("uint32_t[1]", NOLOGFLUSH))
    local errno = ffi.errno()
    C.close(fd)
    if rc ~= 0 then return nil, "EXT4_IOC_SHUTDOWN: errno " .. errno end
    return true
end

--- A new disk, mounted at <dir>/disk, or nil and why there can be none here.
function disk.create(dir)
    if uv.getuid() ~= 0 then return nil, "only root can mount a disk" end
    local image = dir .. "/disk.img"
    local self = setmetatable({ dir = dir, path = dir .. "/disk", image = image, what = { "-o", "loop", image } }, Disk)
    local ok, why = run("truncate", "--size", ("%d"):format(SIZE), self.image)
    if ok then ok, why = run("mkfs.ext4", "-q", "-F", self.image) end
    if not ok then return nil, why end
    assert(uv.fs_mkdir(self.path, 448))
    return self:mount()
end

--- A new disk in memory of so many MiB, mounted at <dir>/disk, or nil and why there can be none here.
function disk.small(dir, mib)
    if uv.getuid() ~= 0 then return nil, "only root can mount a disk" end
    local what = { "-t", "tmpfs", "-o", ("size=%dm"):format(mib), "tmpfs" }
    local self = setmetatable({ dir = dir, path = dir .. "/disk", what = what }, Disk)
    assert(uv.fs_mkdir(self.path, 448))
    return self:mount()
end

--- Why no power can be cut here, or nil.
function disk.missing()
    local self, why = disk.create(evrt.folder())
    if self then
        local ok
        ok, why = self:cut()
        self:unmount()
        if ok then why = nil end
    end
    evrt.cleanup()
    return why
end

return disk
