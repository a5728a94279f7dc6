/* See process_stats.h. */
#include "telemetry/process_stats.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

static size_t read_small(const char *path, char *out, size_t size) {
    FILE *f = fopen(path, "re");
    if (f == NULL) return 0;
    size_t n = fread(out, 1, size - 1, f);
    fclose(f);
    out[n] = '\0';
    return n;
}

/* The wall clock when the machine was booted. */
static double booted(void) {
    struct timespec wall, up;
    clock_gettime(CLOCK_REALTIME, &wall);
    clock_gettime(CLOCK_BOOTTIME, &up);
    return (double)(wall.tv_sec - up.tv_sec) + (double)(wall.tv_nsec - up.tv_nsec) / 1e9;
}

/* Fields from the state on, which follows the name in parentheses; the name may hold anything. */
static void read_stat(struct evrt_process_stats *s) {
    enum { THREADS = 17, START = 19, VIRTUAL = 20, RESIDENT = 21 };
    char text[1024];
    if (read_small("/proc/self/stat", text, sizeof text) == 0) return;
    char *at = strrchr(text, ')');
    if (at == NULL) return;
    at += 3; /* ") S" */
    for (int field = 1; *at == ' '; field++) {
        unsigned long long v = strtoull(at, &at, 10);
        if (field == THREADS) s->threads = (double)v;
        if (field == START)
            s->start_ms = (uint64_t)((booted() + (double)v / (double)sysconf(_SC_CLK_TCK)) * 1000);
        if (field == VIRTUAL) s->virtual_bytes = (double)v;
        if (field == RESIDENT) s->resident_bytes = (double)v * (double)sysconf(_SC_PAGESIZE);
        if (field >= RESIDENT) return;
        /* a negative one: strtoull takes the sign */
    }
}

static double limit(int resource) {
    struct rlimit r;
    if (getrlimit((__rlimit_resource_t)resource, &r) < 0) return 0;
    return r.rlim_cur == RLIM_INFINITY ? -1 : (double)r.rlim_cur;
}

static double count_fds(void) {
    DIR *d = opendir("/proc/self/fd");
    double n = 0;
    if (d == NULL) return 0;
    for (struct dirent *e; (e = readdir(d)) != NULL;)
        n += e->d_name[0] != '.';
    closedir(d);
    return n - 1; /* the folder itself */
}

void evrt_process_stats(struct evrt_process_stats *s) {
    struct timespec cpu;
    *s = (struct evrt_process_stats){0};
    read_stat(s);
    if (clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu) == 0)
        s->cpu_ns = (uint64_t)cpu.tv_sec * 1000000000u + (uint64_t)cpu.tv_nsec;
    s->virtual_max = limit(RLIMIT_AS);
    s->max_fds = limit(RLIMIT_NOFILE);
    s->open_fds = count_fds();
}
