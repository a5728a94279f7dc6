/* Verify: every segment surveyed, every finding told. Repair is verify that acts (repair.c).
 *
 * A segment that is missing, or whose header is not readable, is judged by its neighbours: it held what
 * lies between them. */
#include "journal/store.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/clock.h"
#include "core/error.h"
#include "journal/folder.h"
#include "journal/internal.h"
#include "journal/repair.h"

struct tool {
    struct evrt_folder folder;
    struct evrt_chain chain;
    struct evrt_store_report *report;
    bool repair;
    evrt_store_finding_cb finding;
    evrt_store_progress_cb progress;
    void *arg;
    uint64_t done, total, told; /* bytes */
    /* Of the segment before: what must follow it. number 0: none yet. */
    uint64_t number, next_group, next_seq, end;
    bool changed; /* its end is not where it was found */
    bool sealed;  /* another one must follow */
};

static void tell(struct tool *t, const char *segment, uint64_t offset, uint64_t length, bool torn,
                 const char *what) {
    struct evrt_store_finding f = {
        .segment = segment, .offset = offset, .length = length, .torn = torn};
    snprintf(f.what, sizeof f.what, "%s", what);
    if (torn)
        t->report->torn++;
    else
        t->report->damaged++;
    if (t->finding != NULL) t->finding(t->arg, &f);
}

static void on_progress(void *arg, uint64_t offset) {
    struct tool *t = arg;
    const uint64_t step = 1 << 20;
    if (t->progress == NULL || t->done + offset < t->told + step) return;
    t->told = t->done + offset;
    t->progress(t->arg, t->told, t->total);
}

static const struct evrt_link *find_link(const struct evrt_chain *c, uint64_t number) {
    for (size_t i = 0; i < c->n; i++)
        if (c->links[i].number == number) return &c->links[i];
    return NULL;
}

static void tell_bad(struct tool *t, const struct evrt_link *link, const struct evrt_bad *bad) {
    char what[160];
    if (bad->gap.groups == 0)
        snprintf(what, sizeof what, "the segment's end is bad; nothing is lost");
    else
        snprintf(what, sizeof what, "%llu bad groups, which held %llu events from seq %llu on",
                 (unsigned long long)bad->gap.groups, (unsigned long long)bad->gap.events,
                 (unsigned long long)bad->gap.first_seq);
    tell(t, link->name, bad->offset, bad->length, false, what);
    t->report->events_lost += bad->gap.events;
}

/* What does not fit in the header; returns whether it must be written anew. */
static bool check_header(struct tool *t, struct evrt_survey *s) {
    bool rewrite = false;
    if (s->link->state == EVRT_HEADER_HALF) {
        tell(t, s->link->name, 0, EVRT_SEGMENT_PAGE, false,
             "the header page is damaged; its copy is good, nothing is lost");
        rewrite = true;
    }
    if (t->number > 0 && s->header.prev_end != t->end) {
        if (!t->changed)
            tell(t, s->link->name, 0, EVRT_SEGMENT_PAGE, false,
                 "the header does not say where the segment before ends; nothing is lost");
        s->header.prev_end = t->end;
        rewrite = true;
    }
    return rewrite;
}

/* What must follow this segment. */
static void carry(struct tool *t, uint64_t number, uint64_t next_group, uint64_t next_seq,
                  uint64_t end, bool changed) {
    t->number = number;
    t->next_group = next_group;
    t->next_seq = next_seq;
    t->end = end;
    t->changed = changed;
}

/* A segment that is not the newest and whose successor is lost has no one to say where it ends. */
static void cut_off(struct evrt_survey *s) {
    s->bad = evrt_realloc(s->bad, (s->bad_count + 1) * sizeof *s->bad);
    s->bad[s->bad_count++] = (struct evrt_bad){
        .offset = s->end, .length = s->torn, .gap = {s->next_seq, 0, s->next_group, 0}};
    s->torn = 0;
}

static void count(struct tool *t, const struct evrt_survey *s) {
    t->report->groups += s->groups;
    t->report->records += s->records;
    t->report->events += s->events;
}

/* `next`: the segment right after it; NULL when it is the newest, or when that one is lost. */
static int do_segment(struct tool *t, const struct evrt_link *link, const struct evrt_link *next,
                      bool newest, struct evrt_error *err) {
    struct evrt_survey s;
    int rc = evrt_survey_segment(&s, link, next, t->folder.journal, on_progress, t, err);
    if (rc < 0) goto out;
    if (t->number > 0 &&
        (s.header.first_group != t->next_group || s.header.first_seq != t->next_seq)) {
        rc = evrt_error_set(err, -EBADMSG,
                            "segment %s does not continue the one before: it is not of this store",
                            link->name);
        goto out;
    }
    bool rewrite = check_header(t, &s);
    bool open_end = !newest && !s.sealed;
    if (open_end && next == NULL) cut_off(&s);
    for (size_t i = 0; i < s.bad_count; i++)
        tell_bad(t, link, &s.bad[i]);
    if (s.torn > 0) tell(t, link->name, s.end, s.torn, true, "a torn tail; the next start cuts it");
    count(t, &s);
    uint64_t end = s.unfinished ? s.end + EVRT_SEAL_BYTES : s.end;
    bool moved = s.bad_count > 0;
    if ((rewrite || moved) && t->repair)
        rc = evrt_repair_segment(&t->folder, &s, open_end, &end, err);
    carry(t, link->number, s.next_group + open_end, s.next_seq, end, moved);
    t->sealed = s.sealed || open_end;
out:
    evrt_survey_finish(&s);
    return rc;
}

/* ---- Segments that are missing, or whose header is not readable ---- */

/* Tells of, and moves away, what stands under the numbers [from, to). */
static int set_aside(struct tool *t, uint64_t from, uint64_t to, struct evrt_error *err) {
    int rc = 0;
    for (uint64_t number = from; rc == 0 && number < to; number++) {
        const struct evrt_link *link = find_link(&t->chain, number);
        char name[EVRT_SEGMENT_NAME];
        evrt_segment_name(number, name);
        tell(t, name, 0, link != NULL ? link->file_size : 0, false,
             link != NULL ? "its header is not readable" : "it is missing");
        if (link != NULL && t->repair) rc = evrt_repair_move(&t->folder, link, err);
    }
    return rc;
}

/* Puts a segment that holds only a GAP under a number. */
static int put_blank(struct tool *t, uint64_t number, const struct evrt_record_gap *gap, bool seal,
                     struct evrt_error *err) {
    struct evrt_bad bad = {.offset = EVRT_SEGMENT_PAGE, .gap = *gap};
    struct evrt_survey s = {.header = {.number = number,
                                       .first_group = gap->first_group,
                                       .first_seq = gap->first_seq,
                                       .created_ms = evrt_wall_ms(),
                                       .prev_end = t->end,
                                       .prev_max_ms = evrt_wall_ms(),
                                       .salt = evrt_journal_salt()},
                            .bad = &bad,
                            .bad_count = 1,
                            .end = EVRT_SEGMENT_PAGE,
                            .next_group = gap->first_group + gap->groups,
                            .next_seq = gap->first_seq + gap->events};
    uint64_t end = t->end;
    t->report->events_lost += gap->events;
    int rc = t->repair ? evrt_repair_segment(&t->folder, &s, seal, &end, err) : 0;
    carry(t, number, s.next_group + seal, s.next_seq, end, true);
    t->sealed = seal;
    return rc;
}

/* Between what was before and `next`: one GAP, in the last of the segments that are gone. The others,
 * like it, need a group of their own and a SEAL. */
static int do_lost(struct tool *t, uint64_t from, const struct evrt_link *next,
                   struct evrt_error *err) {
    const struct evrt_segment_header *h = &next->header;
    int rc = set_aside(t, from, next->number, err);
    if (rc < 0 || (t->number == 0 && from > 1)) return rc; /* the journal begins at `next` */
    if (t->number == 0) carry(t, 0, 1, 1, 0, true);
    if (h->first_group < t->next_group + 2 * (next->number - from) || h->first_seq < t->next_seq)
        return evrt_error_set(
            err, -EBADMSG, "segment %s does not continue the ones before: it is not of this store",
            next->name);
    for (uint64_t number = from; rc == 0 && number < next->number; number++) {
        struct evrt_record_gap gap = {t->next_seq, 0, t->next_group, 1};
        if (number + 1 == next->number) {
            gap.events = h->first_seq - t->next_seq;
            gap.groups = h->first_group - 1 - t->next_group;
        }
        rc = put_blank(t, number, &gap, true, err);
    }
    return rc;
}

/* At the end of the journal nobody says what is lost; the file itself, unchecked, has to. */
static int do_lost_end(struct tool *t, uint64_t from, uint64_t to, struct evrt_error *err) {
    struct evrt_record_gap gap = {0};
    const struct evrt_link *link = find_link(&t->chain, from);
    int rc = link == NULL ? 0 : evrt_survey_guess(link, t->folder.journal, &gap, err);
    if (rc == 0) rc = set_aside(t, from, to, err);
    if (rc < 0) return rc;
    if (t->number == 0 && from == 1) carry(t, 0, 1, 1, 0, true);
    bool known = t->number > 0 || from == 1;
    if (!known && gap.groups == 0)
        return evrt_error_set(err, -EBADMSG, "no segment of %s/journal is readable",
                              t->folder.path);
    if (known &&
        (gap.groups == 0 || gap.first_group != t->next_group || gap.first_seq != t->next_seq))
        gap = (struct evrt_record_gap){.first_seq = t->next_seq, .first_group = t->next_group};
    return put_blank(t, from, &gap, false, err);
}

static bool readable(const struct evrt_link *link) {
    return link->state == EVRT_HEADER_GOOD || link->state == EVRT_HEADER_HALF;
}

static const struct evrt_link *next_readable(const struct evrt_chain *c, size_t from) {
    for (size_t i = from; i < c->n; i++)
        if (readable(&c->links[i])) return &c->links[i];
    return NULL;
}

static int run_chain(struct tool *t, struct evrt_error *err) {
    const struct evrt_chain *c = &t->chain;
    const struct evrt_link *link = next_readable(c, 0);
    uint64_t from = c->n == 0 ? 0 : c->links[0].number; /* the first number not dealt with */
    uint64_t to = c->n == 0 ? 0 : c->links[c->n - 1].number + 1;
    int rc = 0;
    while (rc == 0 && link != NULL) {
        const struct evrt_link *next = next_readable(c, (size_t)(link - c->links) + 1);
        bool adjacent = next != NULL && next->number == link->number + 1;
        if (link->number > from) rc = do_lost(t, from, link, err);
        if (rc == 0) rc = do_segment(t, link, adjacent ? next : NULL, link->number + 1 == to, err);
        from = link->number + 1;
        t->done += link->file_size;
        if (rc == 0 && t->progress != NULL) t->progress(t->arg, t->done, t->total);
        link = next;
    }
    if (rc == 0 && from < to) return do_lost_end(t, from, to, err);
    if (rc == 0 && t->sealed) return do_lost_end(t, from, from + 1, err);
    return rc;
}

static int check_versions(const struct tool *t, struct evrt_error *err) {
    for (size_t i = 0; i < t->chain.n; i++) {
        const struct evrt_link *link = &t->chain.links[i];
        if (link->state == EVRT_HEADER_NEWER)
            return evrt_error_set(err, -EPROTONOSUPPORT,
                                  "segment %s has format %llu, written by a newer evrt; this one "
                                  "knows formats up to %d",
                                  link->name, (unsigned long long)link->header.number,
                                  EVRT_STORE_VERSION);
    }
    return 0;
}

static int run(const char *path, bool repair, struct evrt_store_report *report,
               evrt_store_finding_cb finding, evrt_store_progress_cb progress, void *arg,
               struct evrt_error *err) {
    struct tool t = {
        .report = report, .repair = repair, .finding = finding, .progress = progress, .arg = arg};
    *report = (struct evrt_store_report){0};
    int rc = evrt_folder_open(&t.folder, path, false, err);
    if (rc < 0) return rc;
    rc = evrt_chain_load(&t.chain, t.folder.journal, err);
    if (rc == 0) rc = check_versions(&t, err);
    if (rc == 0) {
        const struct evrt_link *first = next_readable(&t.chain, 0);
        report->segments = t.chain.n;
        report->first_seq = first != NULL ? first->header.first_seq : 1;
        for (size_t i = 0; i < t.chain.n; i++)
            t.total += t.chain.links[i].file_size;
        report->bytes = t.total;
        rc = run_chain(&t, err);
        report->next_seq = t.next_seq > 0 ? t.next_seq : 1;
    }
    evrt_chain_finish(&t.chain);
    evrt_folder_close(&t.folder);
    return rc;
}

int evrt_store_verify(const char *path, struct evrt_store_report *report,
                      evrt_store_finding_cb finding, evrt_store_progress_cb progress, void *arg,
                      struct evrt_error *err) {
    return run(path, false, report, finding, progress, arg, err);
}

int evrt_store_repair(const char *path, bool dry_run, struct evrt_store_report *report,
                      evrt_store_finding_cb finding, evrt_store_progress_cb progress, void *arg,
                      struct evrt_error *err) {
    return run(path, !dry_run, report, finding, progress, arg, err);
}
