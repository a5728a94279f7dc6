/* See place.h. */
#include "cli/place.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/error.h"

int evrt_place_make(const char *base, char dir[EVRT_PLACE_SIZE], struct evrt_error *err) {
    struct evrt_buf path = {0};
    evrt_buf_printf(&path, "%s/evrt-XXXXXX", base);
    char *made = mkdtemp((char *)evrt_buf_cstr(&path));
    char *real = made == NULL ? NULL : realpath(made, NULL);
    int rc = real == NULL ? -errno : strlen(real) >= EVRT_PLACE_SIZE ? -ENAMETOOLONG : 0;
    if (rc == 0) memcpy(dir, real, strlen(real) + 1);
    if (rc < 0) evrt_error_set(err, rc, "cannot make a folder in %s: %s", base, strerror(-rc));
    free(real);
    evrt_buf_finish(&path);
    return rc;
}

int evrt_place_write(const char *dir, const char *name, struct evrt_slice text,
                     struct evrt_error *err) {
    struct evrt_buf path = {0};
    evrt_buf_printf(&path, "%s/%s", dir, name);
    FILE *f = fopen(evrt_buf_cstr(&path), "we");
    int rc = f == NULL ? -errno : 0;
    if (f != NULL) {
        size_t n = fwrite(text.p, 1, text.n, f);
        if (fclose(f) != 0 || n != text.n) rc = -EIO;
    }
    if (rc < 0) evrt_error_set(err, rc, "%s: %s", evrt_buf_cstr(&path), strerror(-rc));
    evrt_buf_finish(&path);
    return rc;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw) {
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

void evrt_place_remove(const char *dir) {
    nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}
