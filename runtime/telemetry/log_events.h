/* The messages that the runtime logs: one table, read by the code that logs, by docs, help and tests.
 *
 *     evrt_log_event(log, EVENT_PUBLISHED, EVRT_F_STR("event_type", e->type),
 *                    EVRT_F_STR("event_id", e->id), EVRT_F_U64("seq", seq));
 *
 * takes level and text from the table and the caller from where it stands; no fields are fine too. A
 * line of a script (evrt.log, print) has the script's own message and goes through evrt_log_write(). */
#ifndef EVRT_TELEMETRY_LOG_EVENTS_H
#define EVRT_TELEMETRY_LOG_EVENTS_H

#include "telemetry/log.h"

/* id, level, text, the fields it has ('?': where there is one), what it means. */
#define EVRT_LOG_MESSAGES(X)                                                                   \
    /* An event's way, named as the dashboards know it. */                                     \
    X(EVENT_PUBLISHED, INFO, "Event published",                                                \
      "event_type,event_id,source,seq,"                                                        \
      "trace_id?,span_id?",                                                                    \
      "an event was accepted and is durable as configured")                                    \
    X(EVENT_STORED, DEBUG, "Event stored successfully",                                        \
      "event_type,event_id,seq,duration?,"                                                     \
      "trace_id?,span_id?",                                                                    \
      "the journal's commit that holds the event is done")                                     \
    X(EVENT_STORAGE_FAILED, ERROR, "Event storage failed", "event_type,event_id,error",        \
      "an event was refused because it could not be stored; its publisher was told")           \
    X(EVENT_HANDLED, INFO, "Event handled successfully",                                       \
      "event_type,event_id,handler,duration,status,attempt,event_time,seq,generation,"         \
      "purpose?,trace_id?,span_id?",                                                           \
      "a handler returned for this event and that is settled in the journal")                  \
    X(EVENT_HANDLE_FAILED, ERROR, "Event handle failed",                                       \
      "event_type,event_id,handler,duration,status,attempt,error,error_type,event_time,seq,"   \
      "generation,purpose?,stacktrace?,trace_id?,span_id?",                                    \
      "a handler raised, was rejected, ran out of time or died with this event")               \
    X(EVENT_RETRY_QUEUED, WARN, "Event queued for retry",                                      \
      "event_type,event_id,handler,attempt,delay,error,error_type,event_time,seq,"             \
      "trace_id?,span_id?",                                                                    \
      "the handler gets this event again, after `delay`, as its `attempt`-th")                 \
    X(EVENT_DEAD, ERROR, "Event moved to dead letter queue",                                   \
      "event_type,event_id,handler,attempt,reason,error,error_type,event_time,seq,"            \
      "trace_id?,span_id?",                                                                    \
      "it is not tried again: `evrt dead-letters` lists it, shows it and gives it once more")  \
    X(DEAD_NOTICE_FAILED, WARN, "Dead letter notice failed",                                   \
      "handler,event_type,event_id,seq,error",                                                 \
      "on_dead_letter raised, or evrt.dead_letter could not be published; nothing is changed") \
    X(DEAD_GONE, WARN, "Dead letters discarded", "count,reason",                               \
      "dead_letters.ttl, dead_letters.max or an operator removed them for good")               \
    X(EVENT_RETRY_ATTEMPT, INFO, "Event retry attempt",                                        \
      "event_type,event_id,handler,attempt,event_time,seq,trace_id?",                          \
      "a delivery that failed before is sent to its handler once more")                        \
    X(BATCH_STARTED, DEBUG, "Batch processing started", "events",                              \
      "a request with a batch of events has come whole")                                       \
    X(BATCH_COMPLETED, INFO, "Batch processing completed", "events,accepted,refused,duration", \
      "what was accepted of a batch is durable, and its sender is told")                       \
    X(EVENT_HOP_LIMIT, ERROR, "Event refused at hop limit", "event_type,hops,error",           \
      "handlers publish in a circle; bus.max_hops stopped it")                                 \
    /* The node's life. */                                                                     \
    X(STARTING, INFO, "evrt starting", "version,pid,service,environment,config?",              \
      "a process begins; the store is not open yet")                                           \
    X(STORE_OPENED, INFO, "Store opened", "path,durability,events,segments,duration",          \
      "the journal and its projection are recovered and consistent")                           \
    X(TORN_TAIL, WARN, "Torn tail cut", "segment,offset,bytes",                                \
      "the last group was not whole: an unacknowledged write that a crash interrupted")        \
    X(STATE_RESTORED, WARN, "State restored", "from,applied,duration",                         \
      "state.db was missing or damaged and was rebuilt from a snapshot and the journal")       \
    X(NOT_A_NUMBER, ERROR, "Increment of no number", "count,key",                              \
      "so many ctx.kv.incr met a value that is no whole number; `key` is the last one's")      \
    X(STORE_FULL, ERROR, "Store is full", "path,error",                                        \
      "no space for a new segment; publishing answers 503 until there is")                     \
    X(STORE_SPACE, INFO, "Store has space again", "path", "publishing is accepted again")      \
    X(STORE_FAILED, ERROR, "Store failed", "path,error",                                       \
      "a write or fsync failed; nothing of that group is acknowledged and the process ends")   \
    X(SEGMENT_DROPPED, INFO, "Segment dropped", "segment,events,reason",                       \
      "retention, store.max_size or a full disk removed the oldest events")                    \
    X(EVENTS_KEPT, INFO, "Events kept", "segment,events",                                      \
      "retries and dead letters need them: copied into state.db before their segment goes")    \
    X(JOURNAL_UNREADABLE, ERROR, "Journal unreadable", "error,handler?",                       \
      "a reader met damage; `evrt store verify` names it, that handler waits for the repair")  \
    X(LISTENING, INFO, "Listening", "ingest,admin", "the ports are open, at these addresses")  \
    X(TOKEN_EXPOSED, WARN, "Token file readable by others", "path",                            \
      "group or everyone may read a file that holds a token: chmod 600")                       \
    X(READY, INFO, "evrt ready", "handlers,workers,duration",                                  \
      "every worker has loaded its scripts; events are delivered")                             \
    X(DRAINING, INFO, "Draining", "in_flight",                                                 \
      "intake is closed; deliveries in flight may finish until workers.drain_timeout")         \
    X(DRAINED, INFO, "Drained", "duration,redeliver",                                          \
      "everything is settled and closed; `redeliver` deliveries wait for the next start")      \
    X(LOG_REOPENED, INFO, "Log file reopened", "path", "SIGUSR1 came")                         \
    X(LOG_REOPEN_FAILED, ERROR, "Log file not reopened", "path,error",                         \
      "the file opened before stays in use")                                                   \
    X(LOG_DROPPED, WARN, "Log lines dropped", "count,error?",                                  \
      "lines came faster than the outputs take them, or an output failed")                     \
    X(SPANS_LOST, WARN, "Spans lost", "count,queue,failed,rejected,error",                     \
      "a collector is slow, gone or refuses spans; the counts of why are since the start")     \
    X(TRACING_IGNORED, WARN, "Tracing setting ignored", "key,error",                           \
      "an OTEL_ variable or key of tracing was not understood; it counts as not set")          \
    /* Workers and scripts. */                                                                 \
    X(WORKER_STARTED, DEBUG, "Worker started", "worker,worker_pid,generation",                 \
      "a process was started and loads the scripts")                                           \
    X(WORKERS_READY, INFO, "Workers ready", "workers,generation,duration",                     \
      "all workers of a generation have loaded the scripts")                                   \
    X(WORKERS_CONFINED, INFO, "Workers confined", "user,store,host,signals,system_calls",      \
      "what keeps scripts from the store's files, from the host's memory, from signals "       \
      "to it and from administering; `no` where this system does not offer it")                \
    X(WORKER_NOT_STARTED, ERROR, "Worker not started", "worker,error",                         \
      "the process could not be made; it is tried again, ever more slowly")                    \
    X(WORKER_EXITED, DEBUG, "Worker exited", "worker,worker_pid,generation,status",            \
      "a worker ended as it was told to")                                                      \
    X(WORKER_DIED, ERROR, "Worker died", "worker,worker_pid,generation,reason,redelivered",    \
      "a worker crashed, was killed or broke the protocol; its deliveries are made again")     \
    X(WORKER_REPLACED, INFO, "Worker replaced", "worker,worker_pid,generation,duration",       \
      "a new process took a dead worker's place")                                              \
    X(SCRIPTS_REFUSED, ERROR, "Scripts refused", "file?,line?,error,generation",               \
      "scripts do not load; what ran before goes on")                                          \
    X(HANDLER_ADDED, INFO, "Handler added", "handler,events,start",                            \
      "a subscription was made; it is durable from here")                                      \
    X(HANDLER_REMOVED, WARN, "Handler removed", "handler,pending",                             \
      "its script is gone; its events are kept until it returns or is forgotten")              \
    X(HANDLER_FORGOTTEN, WARN, "Handler forgotten", "handler,discarded,reason",                \
      "a removed handler's events are given up: bus.orphan_ttl or an operator")                \
    X(HANDLER_PAUSED, WARN, "Handler paused", "handler,running",                               \
      "by an operator: nothing more is delivered to it until it is resumed")                   \
    X(HANDLER_RESUMED, INFO, "Handler resumed", "handler,pending",                             \
      "by an operator: it goes on where it was paused")                                        \
    X(TIMER_FAILED, ERROR, "Timer cannot run", "handler,error",                                \
      "the host cannot read its schedule or zone, though a worker could: tzdata changed")      \
    X(HANDLER_CHANGED, INFO, "Handler changed", "handler,changes,events",                      \
      "a reload changed it; pending events that no longer match are discarded and counted")    \
    X(RELOADED, INFO, "Reloaded", "generation,handlers,added,changed,removed,duration",        \
      "a new generation of workers has loaded the scripts and gets events from now on")        \
    X(RELOAD_UNCHANGED, INFO, "Reload unchanged", "generation,duration",                       \
      "scripts and configuration are what they were; the workers stay")                        \
    X(RELOAD_REFUSED, ERROR, "Reload refused", "file?,line?,error,generation",                 \
      "a script or the configuration is bad; this generation goes on serving")                 \
    X(GENERATION_DRAINED, INFO, "Generation drained", "generation,duration,redelivered",       \
      "the workers before the last reload have ended; what was left is made again")            \
    X(CONFIG_CHANGED, INFO, "Configuration changed", "key,old,new", "a reload took it over")   \
    X(CONFIG_NEEDS_RESTART, WARN, "Configuration needs a restart", "key,old,new",              \
      "a reload does not take this key over: its old value holds until a restart")             \
    X(FOLDER_NOT_WATCHED, WARN, "Folder not watched", "path,error",                            \
      "saving a script there is noticed some seconds later")                                   \
    /* Operators. */                                                                           \
    X(JOB_STARTED, INFO, "Job started", "job,kind,total,done",                                 \
      "a replay or a reprocessing of dead letters begins, or goes on after a restart")         \
    X(JOB_ENDED, INFO, "Job ended", "job,kind,state,done,failed,skipped,duration,error",       \
      "it is done, failed as a whole, or was cancelled")                                       \
    X(REPLAY_STARTED, INFO, "Event replay started",                                            \
      "replay,handler,from_seq,to_seq,dry_run,resumed",                                        \
      "stored events are delivered to a handler once more, or that goes on after a restart")   \
    X(REPLAY_DONE, INFO, "Event replay completed successfully",                                \
      "replay,handler,replayed,failed,skipped,duration", "the handler took all of them")       \
    X(REPLAY_FAILURES, WARN, "Event replay completed with failures",                           \
      "replay,handler,replayed,failed,skipped,duration",                                       \
      "the handler failed some, each of which has a log line of its own")                      \
    X(REPLAY_FAILED, ERROR, "Event replay failed",                                             \
      "replay,handler,replayed,failed,skipped,duration,error",                                 \
      "it ended before its time: cancelled, or what it needs is gone")                         \
    X(OPERATOR_ACTION, INFO, "Operator action", "action,target,peer,outcome",                  \
      "someone changed something through the admin API, or was refused: the audit trail")      \
    /* HTTP. */                                                                                \
    X(REQUEST_REFUSED, WARN, "Request refused", "peer,status,error,duration?",                 \
      "a request that could be an attack: bad token, smuggling shape, too many connections")

enum evrt_log_message_id {
#define X(id, level, text, fields, meaning) EVRT_MSG_##id,
    EVRT_LOG_MESSAGES(X)
#undef X
        EVRT_MSG_COUNT
};

struct evrt_log_message {
    const char *id; /* "EVENT_PUBLISHED" */
    enum evrt_log_level level;
    const char *text;
    const char *fields; /* comma-separated; '?' after those that are not always there */
    const char *meaning;
};

/* NULL when id is out of range. */
const struct evrt_log_message *evrt_log_message(unsigned id);

/* What evrt_log_event() expands to. Sampling is asked before the fields are gathered, as most lines of a
 * busy node end there: admit counts the line and says whether it is wanted, then write_event writes it
 * without asking again. `caller` as for evrt_log_write(). `now_ns`: the monotonic clock, where it is at hand, some
 * milliseconds old at most; 0: it is read. */
void evrt_log_write_event(struct evrt_log *log, enum evrt_log_message_id id, const char *caller,
                          const struct evrt_log_field *fields, size_t count);
bool evrt_log_event_admit(struct evrt_log *log, enum evrt_log_message_id id, int64_t now_ns);

#define evrt_log_event(log, id, ...) evrt_log_event_at((log), 0, id, __VA_ARGS__)
/* Told not to be likely, the making of a line stands apart from the hot path, which has more of itself in the cache. */
#define evrt_log_event_at(log, now_ns, id, ...)                                                   \
    do {                                                                                          \
        if (__builtin_expect(evrt_log_event_admit((log), EVRT_MSG_##id, (now_ns)), 0)) {          \
            const struct evrt_log_field evrt_fields_[] = {__VA_ARGS__};                           \
            evrt_log_write_event((log), EVRT_MSG_##id, EVRT_LOG_FILE ":" EVRT_LOG_LINE(__LINE__), \
                                 evrt_fields_,                                                    \
                                 sizeof evrt_fields_ / sizeof(struct evrt_log_field));            \
        }                                                                                         \
    } while (0)

#endif
