/* Every metric that the runtime itself has: one table, read by the code that counts, by the exposition, by
 * docs and by tests. The first part is named as dashboards know it; the rest is evrt_* and process_*.
 *
 * Names of counters end in _total. A histogram's unit says which buckets it has, and SECONDS that it is
 * told nanoseconds; counters in SECONDS too. */
#ifndef EVRT_TELEMETRY_METRICS_TABLE_H
#define EVRT_TELEMETRY_METRICS_TABLE_H

/* id, name, type, unit, labels, help. */
/* clang-format off */
#define EVRT_METRICS_EVENTS(X) \
    X(PUBLISHED, "events_published_total", COUNTER, ONE, "event_type,source", \
      "Events that were accepted and are durable as configured.") \
    X(PUBLISH_DURATION, "events_publish_duration_seconds", HISTOGRAM, SECONDS, "event_type,source", \
      "From an event's way into the journal's batch to its being durable.") \
    X(HANDLED, "events_handled_total", COUNTER, ONE, "event_type,handler,status", \
      "Attempts that ended, by how: success or error. Counted when they settle.") \
    X(HANDLING_DURATION, "events_handling_duration_seconds", HISTOGRAM, SECONDS, "event_type,handler", \
      "From sending a delivery to a worker to its answer, each attempt.") \
    X(HANDLING_ERRORS, "events_handling_errors_total", COUNTER, ONE, "event_type,handler,error_type", \
      "Attempts that failed, by why.") \
    X(RETRY_QUEUED, "events_retry_queued_total", COUNTER, ONE, "event_type,handler", \
      "Failed attempts after which another was planned.") \
    X(RETRIED, "events_retried_total", COUNTER, ONE, "event_type,handler,attempt", \
      "Attempts after the first that ended, by the number of the retry; 10+ from ten on.") \
    X(RETRY_FAILED, "events_retry_failed_total", COUNTER, ONE, "event_type,handler", \
      "Attempts after the first that failed.") \
    X(RETRY_QUEUE_SIZE, "events_retry_queue_size", GAUGE, ONE, "", \
      "Deliveries that failed and wait to be tried again, now.") \
    X(DEAD_LETTER, "events_dead_letter_total", COUNTER, ONE, "event_type,handler", \
      "Deliveries that became dead letters.") \
    X(DEAD_LETTER_QUEUE_SIZE, "events_dead_letter_queue_size", GAUGE, ONE, "", \
      "Dead letters there are, now.") \
    X(REPROCESSED, "events_reprocessed_total", COUNTER, ONE, "event_type,status", \
      "Dead letters that were handled once more, by how that ended: success or error.") \
    X(STORED, "events_stored_total", COUNTER, ONE, "event_type", \
      "Events written to the journal.") \
    X(STORAGE_DURATION, "events_storage_duration_seconds", HISTOGRAM, SECONDS, "event_type", \
      "How long the journal's commit took that holds the event: write and sync.") \
    X(STORAGE_ERRORS, "events_storage_errors_total", COUNTER, ONE, "event_type,error_type", \
      "Events that were refused because they could not be stored: full, backlog or too_large.") \
    X(HANDLERS_ACTIVE, "event_handlers_active", GAUGE, ONE, "handler,event_type", \
      "Deliveries at workers, now.") \
    X(REPLAY, "events_replay_total", COUNTER, ONE, "event_type,status", \
      "Deliveries of replayed events that ended, by how: success or error.") \
    X(REPLAY_FAILED, "events_replay_failed_total", COUNTER, ONE, "event_type,error_type", \
      "Deliveries of replayed events that failed, by why.") \
    X(REPLAY_DURATION, "events_replay_duration_seconds", HISTOGRAM, SECONDS, "event_type", \
      "From sending a replayed event to a worker to its answer.")

#define EVRT_METRICS_NODE(X) \
    X(BUILD_INFO, "evrt_build_info", GAUGE, ONE, "version,build,durability", \
      "Always 1: what runs here.") \
    X(SERVICE_INFO, "evrt_service_info", GAUGE, ONE, "service,service_version,environment", \
      "Always 1: the application, as configured.") \
    X(READY, "evrt_ready", GAUGE, ONE, "", "1 while events are taken in and handled.") \
    X(GENERATION, "evrt_generation", GAUGE, ONE, "", "Number of the scripts in service.") \
    X(RELOADS, "evrt_reloads_total", COUNTER, ONE, "outcome", \
      "Reloads that were decided: done, unchanged or refused.") \
    X(RELOAD_GOOD, "evrt_reload_last_successful", GAUGE, ONE, "", \
      "0 when the last reload was refused.") \
    X(WORKERS, "evrt_workers", GAUGE, ONE, "state", "Worker processes, by state.") \
    X(WORKER_RESTARTS, "evrt_worker_restarts_total", COUNTER, ONE, "cause", \
      "Workers that ended unasked: crashed, stalled, memory, exited, or for the protocol.") \
    X(WORKER_MEMORY, "evrt_worker_lua_memory_bytes", GAUGE, ONE, "worker", \
      "Lua memory of a worker at the end of its last turn.") \
    X(WORKER_GC, "evrt_worker_lua_collection_seconds_total", COUNTER, SECONDS, "worker", \
      "Time a worker spent in full collections, which it makes near its limit.") \
    X(WORKER_GCS, "evrt_worker_lua_collections_total", COUNTER, ONE, "worker", \
      "Full collections of a worker.") \
    X(WORKER_BACKLOG, "evrt_worker_backlog_bytes", GAUGE, ONE, "worker", \
      "Bytes of frames that a worker has not taken yet.") \
    X(WORKER_IN_FLIGHT, "evrt_worker_in_flight", GAUGE, ONE, "worker", "Deliveries at a worker.") \
    X(FRAMES, "evrt_frames_total", COUNTER, ONE, "type", "Frames from workers, and DELIVER to them.") \
    X(FRAME_BYTES, "evrt_frame_bytes_total", COUNTER, ONE, "direction", \
      "Bytes of those frames: to workers, from workers.") \
    X(STALE, "evrt_stale_answers_total", COUNTER, ONE, "", \
      "Answers refused because the worker no longer had that delivery.") \
    X(REDELIVERED, "evrt_redelivered_total", COUNTER, ONE, "", \
      "Deliveries made again because their worker ended.") \
    X(HANDLER_LAG, "evrt_handler_lag_events", GAUGE, ONE, "handler", \
      "Events behind the first one that has not ended for the handler.") \
    X(HANDLER_AGE, "evrt_handler_oldest_unprocessed_age_seconds", GAUGE, ONE, "handler", \
      "Age of that event, counted from its being stored; 0: there is none. Retries are not in it.") \
    X(HANDLER_PENDING, "evrt_handler_pending", GAUGE, ONE, "handler", \
      "Deliveries that wait: neither at a worker nor to be tried again.") \
    X(HANDLER_IN_FLIGHT, "evrt_handler_in_flight", GAUGE, ONE, "handler", "Deliveries at workers.") \
    X(HANDLER_BESIDE, "evrt_handler_beside", GAUGE, ONE, "handler", \
      "Deliveries at workers that are none of its subscription's: replays and the like.") \
    X(HANDLER_RETRYING, "evrt_handler_retrying", GAUGE, ONE, "handler", \
      "Deliveries that wait to be tried again.") \
    X(HANDLER_PARKED, "evrt_handler_parked", GAUGE, ONE, "handler", \
      "Deliveries that wait for another of their key (ordered_by).") \
    X(HANDLER_PAUSED, "evrt_handler_paused", GAUGE, ONE, "handler", "1 while paused by an operator.") \
    X(HANDLER_DONE, "evrt_handler_done_total", COUNTER, ONE, "handler", \
      "Deliveries that ended well, since the store was made.") \
    X(HANDLER_DEAD, "evrt_handler_dead_letters", GAUGE, ONE, "handler", \
      "Dead letters of the handler, now.") \
    X(HANDLER_DISCARDED, "evrt_handler_discarded_total", COUNTER, ONE, "handler", \
      "Deliveries that ended discarded, since the store was made.") \
    X(CREDIT_WAITS, "evrt_handler_credit_waits_total", COUNTER, ONE, "handler", \
      "How often a delivery was ready and its handler's concurrency was used up.") \
    X(FRESH_BYTES, "evrt_bus_fresh_bytes", GAUGE, ONE, "", \
      "Bytes of committed events held in memory for handlers.") \
    X(JOURNAL_COMMITS, "evrt_journal_commits_total", COUNTER, ONE, "", "Groups committed.") \
    X(JOURNAL_COMMIT, "evrt_journal_commit_duration_seconds", HISTOGRAM, SECONDS, "", \
      "Write and sync of one group.") \
    X(JOURNAL_BATCH, "evrt_journal_batch_records", HISTOGRAM, COUNT, "", \
      "Records in one group: events, settlements and others.") \
    X(JOURNAL_RECORDS, "evrt_journal_records_total", COUNTER, ONE, "", "Records committed.") \
    X(JOURNAL_WRITTEN, "evrt_journal_written_bytes_total", COUNTER, ONE, "", "Bytes committed.") \
    X(JOURNAL_SEGMENTS, "evrt_journal_segments", GAUGE, ONE, "", "Segments on disk.") \
    X(JOURNAL_BYTES, "evrt_journal_size_bytes", GAUGE, ONE, "", "Their bytes.") \
    X(JOURNAL_EVENTS, "evrt_journal_events", GAUGE, ONE, "", "Events that are kept.") \
    X(JOURNAL_BACKLOG, "evrt_journal_backlog_bytes", GAUGE, ONE, "", "Appended and not durable yet.") \
    X(STORE_FULL, "evrt_store_full", GAUGE, ONE, "", "1 while intake is refused for want of space.") \
    X(STATE_QUEUED, "evrt_state_queued_bytes", GAUGE, ONE, "", \
      "Committed records that state.db has not taken yet.") \
    X(STATE_LAG, "evrt_state_lag_groups", GAUGE, ONE, "", "Groups by which state.db is behind.") \
    X(SNAPSHOT_FAILURES, "evrt_state_snapshot_failures_total", COUNTER, ONE, "", \
      "Snapshots of state.db that could not be made.") \
    X(SHARED_ENTRIES, "evrt_shared_entries", GAUGE, ONE, "", "Values that scripts share.") \
    X(SHARED_BYTES, "evrt_shared_size_bytes", GAUGE, ONE, "", "Their bytes.") \
    X(SHARED_CHANGES, "evrt_shared_changes_total", COUNTER, ONE, "", "Changes of them.") \
    X(SHARED_CONFLICTS, "evrt_shared_conflicts_total", COUNTER, ONE, "", \
      "Changes that came after another one.") \
    X(KV_WRITES, "evrt_kv_writes_total", COUNTER, ONE, "", \
      "Operations on the key-value store that changed it.") \
    X(KV_READS, "evrt_kv_reads_total", COUNTER, ONE, "", "Keys and prefixes that scripts read.") \
    X(KV_MISSES, "evrt_kv_reads_of_state_total", COUNTER, ONE, "", \
      "Of those, read from state.db and not from memory.") \
    X(KV_CONFLICTS, "evrt_kv_conflicts_total", COUNTER, ONE, "", \
      "Compare-and-sets that came too late.") \
    X(KV_REFUSED, "evrt_kv_refused_total", COUNTER, ONE, "", \
      "Writes that were refused: too large, or of a namespace that is another's.") \
    X(KV_OVERLAY, "evrt_kv_overlay_bytes", GAUGE, ONE, "", "Writes that state.db has not taken yet.") \
    X(KV_CACHE, "evrt_kv_cache_bytes", GAUGE, ONE, "", "Values kept in memory to be read.") \
    X(EFFECTS, "evrt_effects_total", COUNTER, ONE, "", \
      "Deliveries that wrote or published with their completion.") \
    X(EMITTED, "evrt_emitted_total", COUNTER, ONE, "", \
      "Events published with the completion of a delivery (ctx.publish).") \
    X(SCHEDULED, "evrt_scheduled_pending", GAUGE, ONE, "", "Events that wait for their time.") \
    X(SCHEDULED_FIRED, "evrt_scheduled_published_total", COUNTER, ONE, "", \
      "Scheduled events whose time came.") \
    X(SCHEDULED_CANCELLED, "evrt_scheduled_cancelled_total", COUNTER, ONE, "", \
      "Scheduled events that were cancelled.") \
    X(HTTP_REQUESTS, "evrt_http_requests_total", COUNTER, ONE, "listener,method,route,status", \
      "Requests answered. Route none: refused before one was found.") \
    X(HTTP_DURATION, "evrt_http_request_duration_seconds", HISTOGRAM, SECONDS, "listener,route", \
      "From a request's first line to its answer being ready.") \
    X(HTTP_CONNECTIONS, "evrt_http_connections", GAUGE, ONE, "listener", "Open connections.") \
    X(LIMIT_HITS, "evrt_limit_hits_total", COUNTER, ONE, "limit", \
      "How often a limit of the configuration came to bear.") \
    X(DUPLICATES, "evrt_duplicates_total", COUNTER, ONE, "", \
      "Events that were published again within dedup.window, and not stored again.") \
    X(DEDUP_ENTRIES, "evrt_dedup_entries", GAUGE, ONE, "", "Events that are known as published.") \
    X(NOTES_DROPPED, "evrt_notes_dropped_total", COUNTER, ONE, "", \
      "What policies did and `evrt why` cannot tell, for want of room.") \
    X(SPANS, "evrt_spans_total", COUNTER, ONE, "outcome", \
      "Spans: exported, or lost and why: limited, queue, failed, rejected.") \
    X(SPANS_WAITING, "evrt_spans_waiting", GAUGE, ONE, "", "Spans that wait for the collector.") \
    X(SPAN_REQUESTS, "evrt_span_requests_total", COUNTER, ONE, "", "Requests to the collector.") \
    X(SPAN_RETRIES, "evrt_span_request_retries_total", COUNTER, ONE, "", \
      "Of those, repeated ones.") \
    X(LOG_DROPPED, "evrt_log_lines_dropped_total", COUNTER, ONE, "", \
      "Log lines lost to a full buffer or a failing output.") \
    X(LOG_SAMPLED, "evrt_log_lines_sampled_out_total", COUNTER, ONE, "", \
      "Log lines left out by logging.sampling.") \
    X(METRICS_SERIES, "evrt_metrics_series", GAUGE, ONE, "", "Label sets there are, of all metrics.") \
    X(METRICS_OVERFLOW, "evrt_metrics_overflow_total", COUNTER, ONE, "metric", \
      "What was counted under overflow=\"true\" because metrics.max_series label sets were there.") \
    X(METRICS_REFUSED, "evrt_metrics_refused_total", COUNTER, ONE, "", \
      "Counts of scripts that were refused: too many metrics, or two that contradict each other.")

#define EVRT_METRICS_PROCESS(X) \
    X(PROCESS_CPU, "process_cpu_seconds_total", COUNTER, SECONDS, "", \
      "CPU time of the node's own process; workers are others.") \
    X(PROCESS_OPEN_FDS, "process_open_fds", GAUGE, ONE, "", "Open file descriptors.") \
    X(PROCESS_MAX_FDS, "process_max_fds", GAUGE, ONE, "", "Most of them there may be.") \
    X(PROCESS_VIRTUAL, "process_virtual_memory_bytes", GAUGE, ONE, "", "Virtual memory.") \
    X(PROCESS_VIRTUAL_MAX, "process_virtual_memory_max_bytes", GAUGE, ONE, "", \
      "Most of it there may be; -1: no limit.") \
    X(PROCESS_RESIDENT, "process_resident_memory_bytes", GAUGE, ONE, "", "Resident memory.") \
    X(PROCESS_START, "process_start_time_seconds", GAUGE, ONE, "", \
      "When the process began, in seconds since the epoch.") \
    X(PROCESS_THREADS, "process_threads", GAUGE, ONE, "", "Threads.")
/* clang-format on */

#define EVRT_METRICS(X) EVRT_METRICS_EVENTS(X) EVRT_METRICS_NODE(X) EVRT_METRICS_PROCESS(X)

enum evrt_metric_id {
#define X(id, name, type, unit, labels, help) EVRT_METRIC_##id,
    EVRT_METRICS(X)
#undef X
        EVRT_METRIC_COUNT
};

/* Limits that are counted as evrt_limit_hits_total: id, the configuration's key, what happens. Every option that
 * bounds something is here. Where a count is kept elsewhere it is taken from there when a scrape asks. */
/* clang-format off */
#define EVRT_LIMITS(X) \
    X(WORKER_MEMORY, "workers.memory_limit", "a delivery failed and its worker was replaced") \
    X(STALL, "workers.stall_timeout", "a worker was killed") \
    X(DRAIN, "workers.drain_timeout", "deliveries were cut off, to be made again") \
    X(RELOAD_INTERVAL, "reload.interval", "a reload was put off") \
    X(CONCURRENCY, "workers.concurrency", "a handler's deliveries waited for others of it") \
    X(MAX_EVENT_SIZE, "http.max_event_size", "an event was refused") \
    X(MAX_BATCH, "http.max_batch", "a batch was refused") \
    X(MAX_CONNECTIONS, "http.max_connections", "a connection was refused") \
    X(MAX_CONNECTIONS_PER_ADDRESS, "http.max_connections_per_address", "a connection was refused") \
    X(MAX_HEADER_SIZE, "http.max_header_size", "a request was refused") \
    X(MAX_BODY_SIZE, "http.max_body_size", "a batch was refused") \
    X(REQUEST_TIMEOUT, "http.request_timeout", "a request was dropped") \
    X(IDLE_TIMEOUT, "http.idle_timeout", "a connection without a request was closed") \
    X(MAX_QUERIES, "admin.max_queries", "a query was refused") \
    X(MAX_TAILS, "admin.max_tails", "a tail was refused") \
    X(TAIL_LAG, "admin.tail_lag", "a tail passed over events") \
    X(STORE_SPACE, "store.max_size", "an event was refused for want of space") \
    X(MAX_BACKLOG, "store.max_backlog", "an event was refused") \
    X(STATE_BACKLOG, "store.max_state_backlog", "deliveries waited for state.db") \
    X(MAX_HOPS, "bus.max_hops", "a handler's event was refused") \
    X(WINDOW, "bus.window", "a handler was sent to read the journal") \
    X(MAX_PARKED, "bus.max_parked", "a handler took no more events until those of a key went on") \
    X(BUS_MEMORY, "bus.memory_limit", "handlers were sent to read the journal") \
    X(DEAD_LETTERS, "dead_letters.max", "the oldest dead letter was given up") \
    X(JOBS, "jobs.max", "a replay or the like was refused") \
    X(JOBS_KEPT, "jobs.keep", "the oldest job that had ended was forgotten") \
    X(DEDUP, "dedup.max", "an event was forgotten before dedup.window was over") \
    X(SCHEDULE, "schedule.max", "an event for later was refused") \
    X(SCHEDULE_DELAY, "schedule.max_delay", "an event for later was refused") \
    X(CATCH_UP, "schedule.max_catch_up", "the oldest times that a timer missed were not made up for") \
    X(FOLDS, "snapshots.max_folds", "a fold waited") \
    X(SHARED_ENTRIES, "shared.max_entries", "a shared value was refused") \
    X(SHARED_SIZE, "shared.max_value_size", "a shared value was refused") \
    X(KV_KEY, "kv.max_key", "a read or write was refused") \
    X(KV_VALUE, "kv.max_value", "a write was refused") \
    X(KV_EFFECTS, "kv.max_effects", "a delivery's write or publish was refused") \
    X(KV_CONFLICTS, "kv.max_conflicts", "a delivery failed: its compare-and-set came too late again and again") \
    X(KV_OVERLAY, "kv.overlay", "a delivery or a write waited for state.db") \
    X(SPAN_RATE, "tracing.max_spans_per_second", "a span was left out") \
    X(SPAN_QUEUE, "tracing.queue_size", "a span was left out") \
    X(SERIES, "metrics.max_series", "something was counted as its metric's overflow")
/* clang-format on */

enum evrt_limit_id {
#define X(id, key, meaning) EVRT_LIMIT_##id,
    EVRT_LIMITS(X)
#undef X
        EVRT_LIMIT_COUNT
};

#endif
