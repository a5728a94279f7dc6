/* Replays a corpus: runs the fuzz target's LLVMFuzzerTestOneInput over each file named on the command
 * line (or in a folder named), with any compiler. libFuzzer brings its own main and does the same. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "core/buf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay_file(const char *path) {
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        perror(path);
        return 1;
    }
    struct evrt_buf buf;
    evrt_buf_init(&buf);
    size_t n;
    while ((n = fread(evrt_buf_room(&buf, 65536), 1, 65536, file)) > 0)
        buf.n += n;
    fclose(file);
    /* A copy of exactly that size, so that a sanitizer sees one byte too far. */
    uint8_t *exact = evrt_alloc(buf.n);
    if (buf.n > 0) memcpy(exact, buf.p, buf.n);
    LLVMFuzzerTestOneInput(exact, buf.n);
    free(exact);
    evrt_buf_finish(&buf);
    return 0;
}

static int replay(const char *path, unsigned *count) {
    struct stat st;
    if (stat(path, &st) < 0 || !S_ISDIR(st.st_mode)) {
        ++*count;
        return replay_file(path);
    }
    DIR *dir = opendir(path);
    if (dir == NULL) {
        perror(path);
        return 1;
    }
    int failed = 0;
    struct evrt_buf name;
    evrt_buf_init(&name);
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        if (entry->d_name[0] == '.') continue;
        evrt_buf_clear(&name);
        evrt_buf_printf(&name, "%s/%s", path, entry->d_name);
        failed |= replay(evrt_buf_cstr(&name), count);
    }
    evrt_buf_finish(&name);
    closedir(dir);
    return failed;
}

int main(int argc, char **argv) {
    unsigned count = 0;
    int failed = 0;
    for (int i = 1; i < argc; i++)
        failed |= replay(argv[i], &count);
    fprintf(stderr, "%u inputs replayed\n", count);
    return failed || count == 0;
}
