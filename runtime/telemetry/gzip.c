/* See gzip.h. */
#include "telemetry/gzip.h"

#include <assert.h>
#include <zlib.h>

void evrt_gzip(struct evrt_slice in, struct evrt_buf *out) {
    enum { QUICK = 1, WINDOW = 15, GZIP = 16, MEMORY = 8, PIECE = 1 << 30 };
    z_stream z = {0};
    int rc = deflateInit2(&z, QUICK, Z_DEFLATED, WINDOW + GZIP, MEMORY, Z_DEFAULT_STRATEGY);
    assert(rc == Z_OK); /* it only fails for want of memory */
    assert(in.n < PIECE);
    uLong bound = deflateBound(&z, (uLong)in.n);
    z.next_in = (Bytef *)(uintptr_t)in.p;
    z.avail_in = (uInt)in.n;
    z.next_out = (Bytef *)evrt_buf_room(out, bound);
    z.avail_out = (uInt)bound;
    rc = deflate(&z, Z_FINISH);
    assert(rc == Z_STREAM_END);
    out->n += z.total_out;
    deflateEnd(&z);
}
