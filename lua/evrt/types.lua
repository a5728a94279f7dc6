---@meta
-- Types for editors; never run. In a handler file, name the type so that its fields complete:
--
--     ---@type evrt.Handler
--     local handler = { name = "Greeter", events = "user.*", handle = function(event, ctx) end }
--     return handler

--- What a handler file returns: one, or a list of them. It is data: loading it has no side effect.
---@class evrt.Handler
---@field name string  The durable subscription's identity: letters, digits and any of `_ - . :`
---@field events? string|string[]  Patterns of types: `*` one segment, `**` any number; `evrt.` must be spelt out
---@field handle fun(event: evrt.Event, ctx: evrt.Context): nil, any  Fails by raising, or by `return nil, why`
---@field timeout? string|number  As `"30s"` or seconds: after it every wait raises
---@field concurrency? integer  Deliveries of this handler in progress at once
---@field ordered_by? string  `"partitionkey"`, another attribute or `"data.path"`: one at a time per value
---@field priority? integer  -100 to 100, 0 unless given: of the handlers of one event, higher ones get it first
---@field on_retry? "hold"|"skip"  With ordered_by: what a retry does to its key, `"hold"` unless given
---@field start? "new"|"beginning"  A new handler's first event: the next one published, or the oldest kept
---@field on_dead_letter? fun(event: evrt.Event, letter: evrt.DeadLetter, ctx: evrt.Context)  Once at most; may fail
---@field schedule? string  Cron, `"*/5 * * * *"` or six fields from the second on: an event `evrt.timer.NAME`
---@field every? string|number  The same after each such time, `"30s"`
---@field timezone? string  Of schedule: `"Europe/Berlin"`; UTC unless given
---@field catch_up? "skip"|"once"|"all"  What becomes of times that were missed; `"skip"` unless given
---@field policies? (string|evrt.BuiltPolicy)[]  Around it, outermost first: names, or `evrt.policy.NAME { ... }`

--- What on_dead_letter is told, and the data of an event evrt.dead_letter.
---@class evrt.DeadLetter
---@field id string  As `evrt dead-letters` names it
---@field handler string
---@field reason "exhausted"|"rejected"|"crashed"|"declined"|"orphaned"
---@field attempts integer
---@field error { type: string, message: string }
---@field event { id: string, type: string, seq: integer }

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
---@field trace_id? string  Of the event's trace, 32 hex digits; nil when tracing is off
---@field span_id? string  Of the innermost span that is open, 16 hex digits: a `ctx.span`'s, or the handling's own
---@field span fun(name: string, fn: fun(): ..., attributes?: table<string, string|number|boolean>): ...  Calls fn; how
--- long it took and whether it failed is a span of the event's trace
---@field kv evrt.kv  The key-value store: what is written takes effect with this delivery's completion, or not at all
---@field publish fun(event: evrt.NewEvent): { id: string }  The same for an event; raises when it cannot be published
---@field log evrt.log
---@field state table  Stays from one delivery to the next, in this worker: the handler's; inside of a policy, its own

---@class evrt.WriteOptions
---@field ttl? string|number  `"5m"` or seconds, after which the key is absent
---@field namespace? string

--- The key-value store, as `ctx.kv` and as `evrt.kv`. A key is text of 1 to `kv.max_key` bytes; a value anything that
--- JSON can hold, or a string of any bytes, up to `kv.max_value`. The namespace is the handler's name unless given;
--- reading another's is free, writing it is what `kv.writers` permits.
---
--- `ctx.kv`: reads see the delivery's own writes, then what other deliveries have completed, in every worker. What is
--- wrong (a value that cannot be encoded, a key too long, a namespace, a deadline that has passed) raises at the call.
--- `evrt.kv`: each write is durable when the call returns true, whatever becomes of the delivery; nil, message, code
--- when it could not be. It is for handlers, policies and what they call while an event is handled (and specs of
--- `evrt test`); a script that loads is refused for it.
---@class evrt.kv
---@field get fun(key: string, namespace?: string): any  nil when there is none
---@field set fun(key: string, value: any, options?: evrt.WriteOptions)
---@field delete fun(key: string, options?: { namespace?: string })
---@field incr fun(key: string, by?: integer, options?: { namespace?: string })  Adds to a whole number, or to nothing;
--- other values are an error: here, at the delivery's end, or (where nobody had read the key) in the log. Needs no
--- read, and increments of many deliveries merge
---@field cas fun(key: string, expected: any, value: any, options?: evrt.WriteOptions): boolean?
--- Sets it (nil: deletes) if it is `expected` (nil: absent). In ctx.kv, should another be quicker before this
--- delivery is done, the delivery is made again, uncharged
---@field scan fun(prefix?: string, options?: { namespace?: string }): fun(): string?, any  Keys that begin so, in
--- order, with their values: `for key, value in ctx.kv.scan "user:" do`

--- What a policy file returns: one, or a list of them. With `wrap` it is a policy; with `policy` a name for one
--- that is built with options. One that has the name of a policy of evrt's own stands in its place.
---@class evrt.Policy
---@field name string
---@field wrap? fun(next: evrt.Next, opts: table, place: evrt.Place): evrt.Next  Called once per use and handler
---@field scope? "handler"|"publish"  What it is around: handling, or what scripts publish
---@field opts? table<string, evrt.Option>|fun(opts: table): table?, string?  What it takes; checked at load
---@field policy? evrt.BuiltPolicy

--- What a policy is around, and what it is itself. Around publishing, event is the table that is published, ctx has
--- `handler`, `log` and `state`, and the results are those of `evrt.publish`.
---@alias evrt.Next fun(event: evrt.Event|evrt.NewEvent, ctx: evrt.Context): any, any, any

--- One use of a policy by one handler, as `wrap` is told of it.
---@class evrt.Place
---@field handler string
---@field policy string  The name it was used by
---@field position string  Where it is used: "file:line"
---@field id string  The same after a reload, as long as the handler's list is: "Welcome/audit", "Welcome/audit#2"
---@field state table  The same as `ctx.state` inside of it

--- An option: `{ "number", min = 1, default = 5 }`. The kinds: any, boolean, choice, duration (given as "1s" or
--- seconds, kept as seconds), function, integer, key (an attribute or "data.path"), number, string, table.
---@class evrt.Option
---@field [1] string|string[]
---@field required? boolean
---@field default? any
---@field min? number
---@field max? number
---@field above? number
---@field of? string[]  Of a choice

--- A policy with options: `evrt.policy.NAME { ... }`.
---@class evrt.BuiltPolicy

---@alias evrt.Key string|fun(event: evrt.Event): any  An attribute, "data.path", or a function of the event

---@class evrt.policies
---@field audit fun(opts?: { level?: string, message?: string, fields?: function }): evrt.BuiltPolicy
---@field circuit_breaker fun(opts?: evrt.CircuitBreaker): evrt.BuiltPolicy
---@field concurrency fun(opts: { max: integer, key?: evrt.Key, name?: string }): evrt.BuiltPolicy
---@field filter fun(opts: { where: fun(event: evrt.Event, ctx: evrt.Context): any }): evrt.BuiltPolicy
---@field retry fun(opts?: evrt.Retry): evrt.BuiltPolicy
---@field sample fun(opts: { rate: number, key?: evrt.Key }): evrt.BuiltPolicy
---@field throttle fun(opts: evrt.Throttle): evrt.BuiltPolicy
---@field timeout fun(opts: { after: string|number }): evrt.BuiltPolicy
---@field transform fun(opts: { change: fun(event: evrt.Event, ctx: evrt.Context): table? }): evrt.BuiltPolicy
---@field [string] fun(opts?: table): evrt.BuiltPolicy

---@class evrt.CircuitBreaker
---@field failures? integer  In a row, of all workers; 5
---@field cooldown? string|number  Until one delivery tries again; "30s"
---@field when_open? "fail"|"wait"  "fail" unless given
---@field name? string  Uses of one name share a breaker

---@class evrt.Throttle
---@field rate number  So many ...
---@field per? string|number  ... in this time, of all workers; "1s"
---@field burst? integer  So many at once; as many as a second's unless given
---@field key? evrt.Key  A bucket for each
---@field max_wait? string|number  What would have to wait longer fails
---@field name? string  Uses of one name share a bucket

---@class evrt.Retry
---@field policy? "exponential"|"fixed"|"linear"|fun(attempt: integer, failure: table, event: evrt.Event): number?
---@field max_retries? integer
---@field initial_delay? string|number
---@field max_delay? string|number
---@field multiplier? number
---@field increment? string|number
---@field jitter? number  0 to 1
---@field retry_if? fun(failure: table, event: evrt.Event): boolean

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
---@field deliver_at? string|number  When to publish it: RFC 3339, or seconds since 1970; at once when that has passed
---@field delay? string|number  How long to wait until it is published: `"90s"` or seconds

--- What became of a published event.
---@class evrt.Published
---@field id string
---@field seq? integer  nil when it is for later
---@field scheduled? string  Its id among those for later
---@field outcomes? evrt.Outcome[]  With `wait = "handled"`
---@field duplicate? true  The same source and id was published before, and is not stored again

---@class evrt.Outcome
---@field handler string
---@field outcome "success"|"retrying"|"dead"|"discarded"|"pending"
---@field error? { type: string, message: string }

--- What `evrt.snapshot.get` finds.
---@class evrt.Snapshot
---@field version integer
---@field state any
---@field saved string  RFC 3339

---@class evrt.FoldOptions
---@field initial? any  The state when there is no snapshot
---@field snapshot_every? integer  Saves one when so many events were folded, or more
---@field keep? integer  Snapshots that stay, the newest; 3
---@field name? string  What they are kept as, instead of type: a new one when the reducer changes

--- Text that is data as it is; made by `evrt.raw`.
---@class evrt.Raw
