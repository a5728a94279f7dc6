/* See distance.h. The classic table, of which only the last three rows are kept. */
#include "core/distance.h"

static unsigned least(unsigned a, unsigned b) {
    return a < b ? a : b;
}

unsigned evrt_distance(struct evrt_slice a, struct evrt_slice b) {
    unsigned rows[3][EVRT_DISTANCE_MAX + 1];
    if (a.n > EVRT_DISTANCE_MAX) a.n = EVRT_DISTANCE_MAX;
    if (b.n > EVRT_DISTANCE_MAX) b.n = EVRT_DISTANCE_MAX;
    for (unsigned j = 0; j <= b.n; j++)
        rows[0][j] = j;
    for (unsigned i = 1; i <= a.n; i++) {
        unsigned *row = rows[i % 3];
        const unsigned *last = rows[(i + 2) % 3], *before = rows[(i + 1) % 3];
        row[0] = i;
        for (unsigned j = 1; j <= b.n; j++) {
            unsigned differs = a.p[i - 1] != b.p[j - 1];
            row[j] = least(least(last[j] + 1, row[j - 1] + 1), last[j - 1] + differs);
            if (i > 1 && j > 1 && a.p[i - 1] == b.p[j - 2] && a.p[i - 2] == b.p[j - 1])
                row[j] = least(row[j], before[j - 2] + 1);
        }
    }
    return rows[a.n % 3][b.n];
}
