/* What the table of commands calls: one function each, in the file of that name. Returns the exit code. */
#ifndef EVRT_CLI_COMMANDS_H
#define EVRT_CLI_COMMANDS_H

struct evrt_cli;

int evrt_cli_run(struct evrt_cli *cli);
int evrt_cli_check(struct evrt_cli *cli);
int evrt_cli_publish(struct evrt_cli *cli);
int evrt_cli_handlers(struct evrt_cli *cli); /* list.c */
int evrt_cli_stats(struct evrt_cli *cli);    /* list.c */
int evrt_cli_top(struct evrt_cli *cli);
int evrt_cli_reload(struct evrt_cli *cli);
int evrt_cli_events(struct evrt_cli *cli);
int evrt_cli_why(struct evrt_cli *cli);
int evrt_cli_tail(struct evrt_cli *cli);
int evrt_cli_retries(struct evrt_cli *cli);
int evrt_cli_dead_letters(struct evrt_cli *cli); /* letters.c */
int evrt_cli_jobs(struct evrt_cli *cli);
int evrt_cli_replay(struct evrt_cli *cli);
int evrt_cli_kv(struct evrt_cli *cli);
int evrt_cli_cleanup(struct evrt_cli *cli);
int evrt_cli_backup(struct evrt_cli *cli); /* cleanup.c */
int evrt_cli_store(struct evrt_cli *cli);
int evrt_cli_test(struct evrt_cli *cli);
int evrt_cli_bench(struct evrt_cli *cli);
int evrt_cli_help(struct evrt_cli *cli);
int evrt_cli_version(struct evrt_cli *cli); /* version.c */

#endif
