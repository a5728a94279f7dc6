---@meta
-- Types for editors; never run. In a handler file, name the type so that its fields complete:
--
--     ---@type evrt.Handler
--     local handler = { name = "Greeter", events = "user.*", handle = function(event, ctx) end }
--     return handler

--- What a handler file returns: one, or a list of them. It is data: loading it has no side effect.
---@class evrt.Handler
---@field name string  The durable subscription's identity: letters, digits and any of `_ - . :`
---@field events string|string[]  Patterns of types: `*` one segment, `**` any number; `evrt.` must be spelt out
---@field handle fun(event: evrt.Event, ctx: evrt.Context): nil, any  Fails by raising, or by `return nil, why`
---@field timeout? string|number  As `"30s"` or seconds: after it every wait raises
---@field concurrency? integer  Deliveries of this handler in progress at once
---@field ordered_by? string  `"partitionkey"`, another attribute or `"data.path"`: one at a time per value
---@field priority? integer  -100 to 100, 0 unless given: of the handlers of one event, higher ones get it first
---@field start? "new"|"beginning"  A new handler's first event: the next one published, or the oldest kept
---@field policies? string[]  Names of policies around it, outermost first

--- The event being handled. Fields are read when first asked for; what a handler writes to it, others do not see.
---@class evrt.Event
---@field id string
---@field type string
---@field source string
---@field time string  RFC 3339; `evrt.time.parse` makes seconds of it
---@field subject? string
---@field datacontenttype? string  Absent means JSON
---@field dataschema? string
---@field extensions table<string, string|integer|boolean>  All other attributes, by name
---@field seq integer  Its dense number in the journal, from 1
---@field data any  Decoded once, when asked for; a string when it is not JSON; nil when there is none
---@field raw? string  The exact bytes that were published

--- What a handler is told about this delivery. Asking for a field that it does not have raises.
---@class evrt.Context
---@field handler string  The handler's name
---@field attempt integer  1 the first time
---@field deadline? number  On the clock of `evrt.time.monotonic()`; nil without a timeout
---@field replay boolean
---@field idempotency_key string  The same for every attempt of this handler at this event: pass it on to others
---@field log evrt.log

--- An event to publish. `type` alone is required.
---@class evrt.NewEvent
---@field type string
---@field data? any  Any value that JSON can hold, `evrt.raw(text)`, or a string when datacontenttype is not JSON
---@field id? string  A UUIDv7 unless given
---@field source? string  The service's name unless given
---@field time? string  RFC 3339; now unless given
---@field subject? string
---@field datacontenttype? string
---@field dataschema? string
---@field extensions? table<string, string|integer|boolean>  Names in lower-case letters and digits

--- What became of a published event.
---@class evrt.Published
---@field id string
---@field seq integer
---@field outcomes? evrt.Outcome[]  With `wait = "handled"`

---@class evrt.Outcome
---@field handler string
---@field outcome "success"|"retrying"|"dead"|"pending"
---@field error? { type: string, message: string }

--- Text that is data as it is; made by `evrt.raw`.
---@class evrt.Raw
