/* Asking before what cannot be taken back, the same way for every command that the table says does such. */
#include <assert.h>
#include <unistd.h>

#include "cli/cli.h"

static const struct evrt_cli_loss *find(const struct evrt_cli *cli, const char *what) {
    const struct evrt_cli_loss *l = cli->command->losses;
    while (l != NULL && l->what != NULL && strcmp(l->what, what) != 0)
        l++;
    assert(l != NULL && l->what != NULL);
    return l;
}

static bool agrees(void) {
    char line[16] = "";
    if (fgets(line, sizeof line, stdin) == NULL) return false;
    line[strcspn(line, "\r\n")] = '\0';
    return strcasecmp(line, "y") == 0 || strcasecmp(line, "yes") == 0;
}

int evrt_cli_confirm(const struct evrt_cli *cli, const char *what) {
    const struct evrt_cli_loss *l = find(cli, what);
    if (evrt_cli_has(cli, "yes")) return EVRT_EXIT_OK;
    /* Nobody reads a question, or types an answer, but at a terminal. */
    if (!isatty(STDIN_FILENO) || !isatty(STDERR_FILENO))
        return evrt_cli_usage(cli, "%s; say --yes", l->loss);
    fprintf(stderr, "evrt %s: %s. Go on? [y/N] ", cli->command->name, l->loss);
    fflush(stderr);
    return agrees() ? EVRT_EXIT_OK : evrt_cli_fail(EVRT_EXIT_FAILED, "nothing was changed");
}
