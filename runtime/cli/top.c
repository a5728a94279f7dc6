/* evrt top: the dashboard of a running node, shown anew every so often until q or Ctrl-C. On a terminal it has the
 * screen to itself and gives it back as it was; elsewhere one picture follows another. */
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/dashboard.h"
#include "cli/table.h"
#include "cli/view.h"
#include "core/clock.h"

struct top {
    bool screen, keys;
    int signals; /* those that end it */
    struct termios before;
    int64_t interval_ms;
    unsigned rows, columns;
};

/* ---- The terminal ---- */

static void begin(struct top *t) {
    sigset_t ends;
    sigemptyset(&ends);
    sigaddset(&ends, SIGINT);
    sigaddset(&ends, SIGTERM);
    sigprocmask(SIG_BLOCK, &ends, NULL);
    t->signals = signalfd(-1, &ends, SFD_CLOEXEC);
    t->screen = evrt_cli_terminal(STDOUT_FILENO);
    t->keys = t->screen && tcgetattr(STDIN_FILENO, &t->before) == 0;
    if (t->keys) {
        struct termios raw = t->before;
        raw.c_lflag &= (tcflag_t) ~(ICANON | ECHO);
        tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    }
}

static void end(const struct top *t, bool shown) {
    struct evrt_buf out;
    if (t->keys) tcsetattr(STDIN_FILENO, TCSANOW, &t->before);
    if (t->signals >= 0) close(t->signals);
    if (!t->screen || !shown) return;
    evrt_buf_init(&out);
    evrt_buf_puts(&out, "\033[?25h\033[?1049l");
    (void)evrt_cli_print(&out);
    evrt_buf_finish(&out);
}

static void measure(struct top *t) {
    struct winsize size;
    bool known = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 0;
    t->rows = known ? size.ws_row : 24;
    t->columns = known && size.ws_col > 0 ? size.ws_col : 80;
}

/* Waits for the next picture. False: enough. */
static bool wait_on(const struct top *t) {
    int64_t until = evrt_mono_ns() + t->interval_ms * 1000000;
    while (true) {
        int64_t left = (until - evrt_mono_ns()) / 1000000;
        struct pollfd fds[] = {{.fd = t->signals, .events = POLLIN},
                               {.fd = t->keys ? STDIN_FILENO : -1, .events = POLLIN}};
        char c = 0;
        if (poll(fds, 2, left < 0 ? 0 : (int)left) <= 0) return true;
        if (fds[0].revents != 0) return false;
        if (read(STDIN_FILENO, &c, 1) <= 0 || c == 'q' || c == 'Q' || c == 4) return false;
        if (c == ' ' || c == '\n') return true;
    }
}

/* ---- Pictures ---- */

/* Bytes of a line that a terminal of so many columns has room for: its escape sequences take none, and text
 * that came from elsewhere has been made harmless. */
static size_t fitting(const char *p, size_t n, unsigned columns) {
    size_t i = 0;
    for (unsigned used = 0; i < n;) {
        if (p[i] == '\033') {
            while (i < n && p[i] != 'm')
                i++;
            i++;
            continue;
        }
        size_t end = i + 1;
        while (end < n && ((unsigned char)p[end] & 0xc0) == 0x80)
            end++;
        used += (unsigned)evrt_show_width((struct evrt_slice){p + i, end - i});
        if (used > columns) break;
        i = end;
    }
    return i < n ? i : n;
}

static void clip(const struct top *t, struct evrt_slice text, struct evrt_buf *out) {
    unsigned row = 0;
    for (size_t at = 0; at < text.n && row < t->rows - 1; row++) {
        const char *line = text.p + at, *stop = memchr(line, '\n', text.n - at);
        size_t n = stop == NULL ? text.n - at : (size_t)(stop - line);
        evrt_buf_put(out, line, fitting(line, n, t->columns));
        evrt_buf_puts(out, "\033[0m\033[K\n");
        at += n + 1;
    }
    evrt_buf_puts(out, "\033[J");
}

static int show(struct evrt_cli *cli, struct top *t, bool first, struct evrt_buf *json,
                struct evrt_buf *text, struct evrt_buf *out) {
    struct evrt_dashboard_view view = {.colour = evrt_cli_colour()};
    int rc = evrt_view_get(cli, "/api/v1/dashboard", json);
    if (rc != EVRT_EXIT_OK) return rc;
    if (evrt_cli_has(cli, "json")) return evrt_cli_print(json);
    measure(t);
    if (t->screen) {
        /* What is above the tables takes 11 lines, and each table has 3 of its own. */
        unsigned room = t->rows > 19 ? t->rows - 19 : 2;
        view.handlers = room / 2 + room % 2;
        view.types = room / 2 + 1;
    }
    evrt_dashboard_show(evrt_buf_slice(json), &view, text);
    if (!t->screen) {
        if (!first) evrt_buf_putc(out, '\n');
        evrt_buf_put(out, text->p, text->n);
        return evrt_cli_print(out);
    }
    evrt_buf_puts(out, first ? "\033[?1049h\033[?25l\033[H" : "\033[H");
    clip(t, evrt_buf_slice(text), out);
    return evrt_cli_print(out);
}

int evrt_cli_top(struct evrt_cli *cli) {
    struct top t = {0};
    struct evrt_buf json, text, out;
    uint64_t seconds, count;
    if (!evrt_cli_number(cli, "interval", 2, 1, 3600, &seconds) ||
        !evrt_cli_number(cli, "count", 0, 0, UINT32_MAX, &count))
        return EVRT_EXIT_USAGE;
    t.interval_ms = (int64_t)seconds * 1000;
    evrt_buf_init(&json);
    evrt_buf_init(&text);
    evrt_buf_init(&out);
    begin(&t);
    int rc;
    uint64_t shown = 0;
    do {
        evrt_buf_clear(&json);
        evrt_buf_clear(&text);
        rc = show(cli, &t, shown == 0, &json, &text, &out);
        if (rc == EVRT_EXIT_OK) shown++;
    } while (rc == EVRT_EXIT_OK && shown != count && wait_on(&t));
    end(&t, shown != 0);
    evrt_buf_finish(&json);
    evrt_buf_finish(&text);
    evrt_buf_finish(&out);
    return rc;
}
