/* evrt store verify|repair: a journal that no node has open. */
#include <errno.h>
#include <inttypes.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/table.h"
#include "cli/view.h"
#include "core/jsonout.h"
#include "core/units.h"
#include "journal/store.h"

struct store {
    bool json;
    bool terminal; /* standard error is one: show progress there */
    unsigned percent;
    struct evrt_buf out;
    struct evrt_jsonout o;
};

static void clear_progress(struct store *s) {
    if (s->terminal) fputs("\r\033[K", stderr);
}

static void on_progress(void *arg, uint64_t bytes, uint64_t total) {
    struct store *s = arg;
    unsigned percent = total == 0 ? 100 : (unsigned)((double)bytes / (double)total * 100);
    if (!s->terminal || percent == s->percent) return;
    s->percent = percent;
    fprintf(stderr, "\r%3u %% of %" PRIu64 " MiB", percent, total >> 20);
    fflush(stderr);
}

static void on_finding(void *arg, const struct evrt_store_finding *f) {
    struct store *s = arg;
    if (s->json) {
        evrt_jsonout_object(&s->o);
        evrt_jsonout_put_cstr(&s->o, "kind", f->torn ? "torn" : "damage");
        evrt_jsonout_put_cstr(&s->o, "segment", f->segment);
        evrt_jsonout_put_u64(&s->o, "offset", f->offset);
        evrt_jsonout_put_u64(&s->o, "length", f->length);
        evrt_jsonout_put_cstr(&s->o, "what", f->what);
        evrt_jsonout_end(&s->o);
        return;
    }
    evrt_buf_printf(&s->out, "%s: %s at offset %" PRIu64 ", %" PRIu64 " bytes: ",
                    f->torn ? "torn tail" : "DAMAGE", f->segment, f->offset, f->length);
    evrt_show(&s->out, evrt_slice_of(f->what), false);
    evrt_buf_putc(&s->out, '\n');
}

static void finish_json(struct store *s, const struct evrt_store_report *r) {
    struct evrt_jsonout *o = &s->o;
    evrt_jsonout_end(o);
    evrt_jsonout_put_u64(o, "segments", r->segments);
    evrt_jsonout_put_u64(o, "groups", r->groups);
    evrt_jsonout_put_u64(o, "records", r->records);
    evrt_jsonout_put_u64(o, "events", r->events);
    evrt_jsonout_put_u64(o, "bytes", r->bytes);
    evrt_jsonout_put_u64(o, "first_seq", r->first_seq);
    evrt_jsonout_put_u64(o, "next_seq", r->next_seq);
    evrt_jsonout_put_u64(o, "damaged", r->damaged);
    evrt_jsonout_put_u64(o, "torn", r->torn);
    evrt_jsonout_put_u64(o, "events_lost", r->events_lost);
    evrt_jsonout_end(o);
    evrt_buf_putc(&s->out, '\n');
}

static void finish_text(struct store *s, const struct evrt_store_report *r) {
    const struct {
        uint64_t n;
        const char *what;
    } counts[] = {{r->segments, "segment"},
                  {r->bytes, "byte"},
                  {r->groups, "group"},
                  {r->records, "record"},
                  {r->events, "event"}};
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        if (i != 0) evrt_buf_puts(&s->out, ", ");
        evrt_view_count(counts[i].n, counts[i].what, &s->out);
    }
    if (r->next_seq > r->first_seq)
        evrt_buf_printf(&s->out, " (seq %" PRIu64 " to %" PRIu64 ")", r->first_seq,
                        r->next_seq - 1);
    evrt_buf_putc(&s->out, '\n');
}

static void put_damage(struct store *s, const char *path, const struct evrt_store_report *r,
                       bool repaired) {
    evrt_buf_puts(&s->out, repaired ? "repaired: " : "damaged in ");
    evrt_view_count(r->damaged, repaired ? "range" : "place", &s->out);
    if (repaired) {
        evrt_buf_puts(&s->out, " set aside, ");
        evrt_view_count(r->events_lost, "event", &s->out);
        evrt_buf_puts(&s->out, " lost\n");
    } else {
        evrt_buf_printf(&s->out, "; to set them aside: evrt store repair --yes %s\n", path);
    }
}

/* What the findings mean, and what to do: the last line, and the exit code. */
static int conclude(struct store *s, const char *path, const struct evrt_store_report *r,
                    bool repaired) {
    if (r->damaged == 0 && !s->json)
        evrt_buf_puts(&s->out,
                      r->torn > 0 ? "sound; the next start cuts the torn tail\n" : "sound\n");
    else if (!s->json)
        put_damage(s, path, r, repaired);
    return r->damaged > 0 && !repaired ? EVRT_EXIT_FAILED : EVRT_EXIT_OK;
}

/* Reads all of it, and repairs it, or shows what that would do; *damaged: in so many places. */
static int look(struct evrt_cli *cli, bool repair, bool dry_run, uint64_t *damaged) {
    struct store s = {.json = evrt_cli_has(cli, "json"),
                      .terminal = evrt_cli_terminal(STDERR_FILENO),
                      .percent = ~0u};
    const char *path = cli->args[1];
    struct evrt_store_report report = {0};
    struct evrt_error err;
    evrt_buf_init(&s.out);
    s.o = evrt_jsonout_start(&s.out);
    if (s.json) {
        evrt_jsonout_object(&s.o);
        evrt_jsonout_key(&s.o, "findings");
        evrt_jsonout_array(&s.o);
    }
    int rc = repair ? evrt_store_repair(path, dry_run, &report, on_finding, on_progress, &s, &err)
                    : evrt_store_verify(path, &report, on_finding, on_progress, &s, &err);
    clear_progress(&s);
    if (rc < 0) {
        rc = evrt_cli_error(EVRT_EXIT_FAILED, &err);
    } else {
        if (s.json)
            finish_json(&s, &report);
        else
            finish_text(&s, &report);
        int code = conclude(&s, path, &report, repair && !dry_run);
        rc = evrt_cli_print(&s.out);
        if (rc == EVRT_EXIT_OK) rc = code;
        *damaged = report.damaged;
    }
    evrt_buf_finish(&s.out);
    return rc;
}

int evrt_cli_store(struct evrt_cli *cli) {
    const char *verb = cli->args[0];
    bool repair = strcmp(verb, "repair") == 0, yes = evrt_cli_has(cli, "yes");
    uint64_t damaged = 0;
    if (!repair && strcmp(verb, "verify") != 0)
        return evrt_cli_usage(cli, "expected verify or repair, got \"%s\"", verb);
    if (!repair && yes) return evrt_cli_usage(cli, "--yes is for repair; verify changes nothing");
    int rc = look(cli, repair, !yes, &damaged);
    if (!repair || yes || damaged == 0) return rc;
    rc = evrt_cli_confirm(cli, verb);
    return rc == EVRT_EXIT_OK ? look(cli, true, false, &damaged) : rc;
}
