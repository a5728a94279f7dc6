/* Which node a command talks to, and with what token. See client.h. */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/client.h"
#include "config/config.h"

#define TOKEN_MAX 4096

/* The first line of the file. */
static int read_token(const char *path, char **out) {
    char line[TOKEN_MAX];
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return evrt_cli_fail(EVRT_EXIT_FAILED, "cannot read the token in %s: %s", path,
                             strerror(errno));
    if (fgets(line, sizeof line, file) == NULL) line[0] = '\0';
    fclose(file);
    line[strcspn(line, "\r\n")] = '\0';
    *out = evrt_strdup(line);
    return EVRT_EXIT_OK;
}

static char *join(const char *before, const char *text, size_t n) {
    struct evrt_buf url;
    evrt_buf_init(&url);
    evrt_buf_puts(&url, before);
    evrt_buf_put(&url, text, n);
    evrt_buf_cstr(&url);
    return evrt_buf_release(&url);
}

static char *url_of_option(const char *url) {
    size_t n = strlen(url);
    while (n > 0 && url[n - 1] == '/')
        n--;
    return join(strstr(url, "://") == NULL ? "http://" : "", url, n);
}

/* The address one connects to where the node listens on `listen`: every address is this machine too. */
static int url_of_listen(const struct evrt_cli *cli, const char *key, const char *listen,
                         char **out) {
    struct evrt_address a;
    struct evrt_error err;
    if (evrt_address_parse(evrt_slice_of(listen), &a, &err) < 0)
        return evrt_cli_error(EVRT_EXIT_CONFIG, &err);
    if (a.port == 0)
        return evrt_cli_usage(cli, "%s has port 0, which is any port: name it with --url", key);
    const char *host = strcmp(a.host, "0.0.0.0") == 0 ? "127.0.0.1"
                       : strcmp(a.host, "::") == 0    ? "::1"
                                                      : a.host;
    struct evrt_buf url;
    evrt_buf_init(&url);
    bool v6 = strchr(host, ':') != NULL;
    evrt_buf_printf(&url, "http://%s%s%s:%u", v6 ? "[" : "", host, v6 ? "]" : "", a.port);
    evrt_buf_cstr(&url);
    *out = evrt_buf_release(&url);
    return EVRT_EXIT_OK;
}

static int from_config(struct evrt_node *node, const struct evrt_cli *cli,
                       enum evrt_listener listener) {
    struct evrt_config c;
    struct evrt_error err;
    struct evrt_config_source source = {
        .file = evrt_cli_config(cli),
        .environment = (const char *const *)environ,
        .overrides = cli->overrides,
        .trust_files = true, /* the node's own business, and perhaps not ours to read */
    };
    if (evrt_config_load_from(&c, &source, &err) < 0) return evrt_cli_error(EVRT_EXIT_CONFIG, &err);
    bool admin = listener == EVRT_LISTENER_ADMIN;
    const char *token_file = admin ? c.admin.token_file : c.http.token_file;
    int rc = EVRT_EXIT_OK;
    if (node->url == NULL)
        rc = url_of_listen(cli, admin ? "admin.listen" : "http.listen",
                           admin ? c.admin.listen : c.http.listen, &node->url);
    if (rc == EVRT_EXIT_OK && node->token == NULL && token_file[0] != '\0')
        rc = read_token(token_file, &node->token);
    evrt_config_finish(&c);
    return rc;
}

int evrt_node_find(struct evrt_node *node, const struct evrt_cli *cli,
                   enum evrt_listener listener) {
    const char *url = evrt_cli_get(cli, "url"), *token = getenv("EVRT_TOKEN");
    *node = (struct evrt_node){0};
    if (token != NULL && *token != '\0') node->token = evrt_strdup(token);
    if (url != NULL) node->url = url_of_option(url);
    int rc = EVRT_EXIT_OK;
    /* With --url the token is the configuration's only when that is named too: it is for that node. */
    if (url == NULL || (node->token == NULL && evrt_cli_has(cli, "config")))
        rc = from_config(node, cli, listener);
    if (rc == EVRT_EXIT_OK && node->token != NULL && node->token[strcspn(node->token, "\r\n")])
        rc = evrt_cli_fail(EVRT_EXIT_FAILED, "EVRT_TOKEN has a line break in it");
    if (rc != EVRT_EXIT_OK) evrt_node_finish(node);
    return rc;
}

void evrt_node_finish(struct evrt_node *node) {
    free(node->url);
    if (node->token != NULL) explicit_bzero(node->token, strlen(node->token));
    free(node->token);
    *node = (struct evrt_node){0};
}
