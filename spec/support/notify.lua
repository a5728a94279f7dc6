-- A socket as systemd gives to Type=notify services: receives the datagrams of sd_notify.
local ffi = require "ffi"
local uv = require "luv"
require "spec.support.c"

ffi.cdef [[
int socket(int domain, int type, int protocol);
int bind(int fd, const void *address, unsigned size);
ssize_t recv(int fd, void *buf, size_t n, int flags);
int close(int fd);
int unlink(const char *path);
]]

local AF_UNIX, SOCK_DGRAM_CLOEXEC, MSG_DONTWAIT = 1, 2 + 0x80000, 0x40

local notify = {}
notify.__index = notify

--- `path`: a file's, or "@name" for the abstract namespace.
function notify.listen(path)
    local fd = ffi.C.socket(AF_UNIX, SOCK_DGRAM_CLOEXEC, 0)
    assert(fd >= 0)
    local name = path:gsub("^@", "\0")
    local address = ffi.new("char[110]")
    ffi.cast("uint16_t *", address)[0] = AF_UNIX
    ffi.copy(ffi.cast("char *", address) + 2, name, #name)
    local size = 2 + #name + (path:sub(1, 1) == "@" and 0 or 1)
    assert(ffi.C.bind(fd, address, size) == 0, path)
    local self = setmetatable({ fd = fd, path = path, all = {}, poll = uv.new_poll(fd) }, notify)
    self.poll:start("r", function() self:received() end) -- what arrives turns the loop
    return self
end

--- Takes what has arrived; returns everything that ever did, in order.
function notify:received()
    local buf = ffi.new("char[4096]")
    while true do
        local n = ffi.C.recv(self.fd, buf, 4096, MSG_DONTWAIT)
        if n < 0 then return self.all end
        self.all[#self.all + 1] = ffi.string(buf, n)
    end
end

--- Whether `message` has arrived.
function notify:has(message)
    for _, m in ipairs(self:received()) do
        if m == message then return true end
    end
    return false
end

function notify:close()
    self.poll:close()
    uv.run "nowait"
    ffi.C.close(self.fd)
    if self.path:sub(1, 1) ~= "@" then ffi.C.unlink(self.path) end
end

return notify
