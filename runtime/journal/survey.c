/* See survey.h. */
#include "journal/survey.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/error.h"

struct walk {
    struct evrt_survey *survey;
    evrt_survey_progress progress;
    void *arg;
};

static void count_group(void *arg, uint64_t offset, const struct evrt_group *g) {
    struct walk *w = arg;
    w->survey->groups++;
    w->survey->records += g->records;
    w->survey->events += g->events;
    w->survey->sealed = g->sealed;
    if (w->progress != NULL) w->progress(w->arg, offset);
}

static void add_bad(struct evrt_survey *s, uint64_t to, uint64_t group, uint64_t seq) {
    s->bad = evrt_realloc(s->bad, (s->bad_count + 1) * sizeof *s->bad);
    s->bad[s->bad_count++] = (struct evrt_bad){
        .offset = s->end,
        .length = to > s->end ? to - s->end : 0,
        .gap = {s->next_seq, seq - s->next_seq, s->next_group, group - s->next_group}};
    s->next_group = group;
    s->next_seq = seq;
}

/* Nothing good follows s->end, and the segment is not sealed. */
static int judge_tail(struct evrt_survey *s, struct evrt_scan *scan, int journal_dir,
                      struct evrt_error *err) {
    struct evrt_tail tail;
    int rc = evrt_scan_tail(scan, s->end, s->next_group, &tail);
    if (rc < 0) return rc;
    if (s->next == NULL) {
        if (tail.later && tail.last_seq >= s->next_seq)
            add_bad(s, tail.used_end, tail.last_group, tail.last_seq);
        else
            s->torn = tail.used_end - s->end;
        return 0;
    }
    const struct evrt_segment_header *after = &s->next->header;
    if (after->first_group <= s->next_group || after->first_seq < s->next_seq)
        return evrt_error_set(err, -EBADMSG,
                              "segments %s and %s overlap: one of them is not of this store",
                              s->link->name, s->next->name);
    bool all_there = s->next_group + 1 == after->first_group && s->next_seq == after->first_seq &&
                     s->end == after->prev_end - EVRT_SEAL_BYTES && !tail.later;
    struct evrt_survey last;
    if (all_there) {
        rc = evrt_survey_segment(&last, s->next, NULL, journal_dir, NULL, NULL, err);
        s->unfinished = rc == 0 && last.groups == 0 && last.bad_count == 0 && last.torn == 0;
        evrt_survey_finish(&last);
        if (rc < 0) return rc;
    }
    if (s->unfinished) {
        s->torn = tail.used_end - s->end;
        return 0;
    }
    uint64_t to = tail.used_end > after->prev_end ? tail.used_end : after->prev_end;
    add_bad(s, to < s->link->file_size ? to : s->link->file_size, after->first_group - 1,
            after->first_seq);
    return 0;
}

static int survey(struct evrt_survey *s, struct evrt_scan *scan, struct walk *w, int journal_dir,
                  struct evrt_error *err) {
    uint64_t from = EVRT_SEGMENT_PAGE;
    for (;;) {
        struct evrt_group g;
        uint64_t resume;
        int rc = evrt_scan_walk(scan, from, &s->next_group, &s->next_seq, &s->end, count_group, w);
        if (rc < 0 || s->sealed) return rc;
        rc = evrt_scan_resume(scan, s->end, s->next_group, &resume, &g);
        if (rc < 0) return rc;
        if (rc == 0 || g.first_seq < s->next_seq) return judge_tail(s, scan, journal_dir, err);
        add_bad(s, resume, g.number, g.first_seq);
        from = resume;
    }
}

int evrt_survey_segment(struct evrt_survey *s, const struct evrt_link *link,
                        const struct evrt_link *next, int journal_dir,
                        evrt_survey_progress progress, void *arg, struct evrt_error *err) {
    *s = (struct evrt_survey){.link = link,
                              .next = next,
                              .header = link->header,
                              .next_group = link->header.first_group,
                              .next_seq = link->header.first_seq};
    struct evrt_scan scan;
    struct walk w = {s, progress, arg};
    int fd = evrt_chain_open(link, journal_dir, err);
    if (fd < 0) return fd;
    evrt_scan_init(&scan, fd, link->header.salt, link->file_size);
    int rc = survey(s, &scan, &w, journal_dir, err);
    evrt_scan_finish(&scan);
    close(fd);
    if (rc < 0 && rc != -EBADMSG)
        evrt_error_set(err, rc, "segment %s: %s", link->name, strerror(-rc));
    return rc;
}

void evrt_survey_finish(struct evrt_survey *s) {
    free(s->bad);
    s->bad = NULL;
    s->bad_count = 0;
}

int evrt_survey_guess(const struct evrt_link *link, int journal_dir, struct evrt_record_gap *out,
                      struct evrt_error *err) {
    *out = (struct evrt_record_gap){0};
    struct evrt_scan scan;
    struct evrt_group g;
    int fd = evrt_chain_open(link, journal_dir, err);
    if (fd < 0) return fd;
    evrt_scan_init(&scan, fd, 0, link->file_size);
    int rc = 0;
    for (uint64_t at = EVRT_SEGMENT_PAGE; at < link->file_size; at += EVRT_GROUP_HEAD + g.length) {
        size_t have;
        const char *p = evrt_scan_bytes(&scan, at, EVRT_GROUP_HEAD, &have, &rc);
        if (p == NULL || have < EVRT_GROUP_HEAD || evrt_group_look(p, &g) < 0) break;
        if (out->groups > 0 && g.number != out->first_group + out->groups) break;
        if (out->groups == 0) {
            out->first_group = g.number;
            out->first_seq = g.first_seq;
        }
        out->groups++;
        out->events = g.first_seq + g.events - out->first_seq;
    }
    evrt_scan_finish(&scan);
    close(fd);
    return rc < 0 ? evrt_error_set(err, rc, "segment %s: %s", link->name, strerror(-rc)) : 0;
}
