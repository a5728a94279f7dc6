/* main(): finds the command and runs it. `evrt worker` is how the host starts its workers. */
#include <fcntl.h>
#include <locale.h>
#include <signal.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "worker/worker.h"

/* "-h" and "--version" mean the commands of that name. */
static const char *command_name(const char *word) {
    static const char *const words[][2] = {
        {"-h", "help"}, {"--help", "help"}, {"-V", "version"}, {"--version", "version"}};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcmp(word, words[i][0]) == 0) return words[i][1];
    return word;
}

/* Who starts evrt may have closed 0, 1 or 2. What is opened next would get that number, and be taken for
 * standard output; this can be neither read nor written, as if it were closed still. */
static void occupy_standard_descriptors(void) {
    int fd;
    do
        fd = open("/", O_PATH);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0) close(fd);
}

/* `evrt CMD --help` is `evrt help CMD`. */
static int run(struct evrt_cli *cli, bool help) {
    if (!help) return cli->command->run(cli);
    struct evrt_cli other = {.command = evrt_command_find("help"), .nargs = 1};
    other.args[0] = cli->command->name;
    return evrt_cli_help(&other);
}

int main(int argc, char **argv) {
    if (argc > 1 && strcmp(argv[1], "worker") == 0) return evrt_worker_main();
    occupy_standard_descriptors();
    /* A reader that went away is an error of write(): the command ends in its own way. */
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);       /* a file at its size limit is like a full disk */
    setlocale(LC_CTYPE, "C.UTF-8"); /* for the width of text in tables */
    if (argc < 2) {
        fputs("evrt: which command?\nTry: evrt help\n", stderr);
        return EVRT_EXIT_USAGE;
    }
    const char *name = command_name(argv[1]);
    const struct evrt_command *command = evrt_command_find(name);
    if (command == NULL) {
        const char *near = evrt_command_nearest(name);
        return evrt_cli_fail(EVRT_EXIT_USAGE, "unknown command \"%s\"%s%s\nTry: evrt help", name,
                             *near == '\0' ? "" : "; the nearest is ", near);
    }
    struct evrt_cli cli;
    bool help;
    int rc = evrt_cli_parse(&cli, command, argc - 2, argv + 2, &help);
    if (rc == EVRT_EXIT_OK) rc = run(&cli, help);
    evrt_cli_finish(&cli);
    return rc;
}
