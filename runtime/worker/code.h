/* The codes that scripts get as the third result of what failed: "ENOSPC", "EHOPS", ... One place gives them their
 * names. */
#ifndef EVRT_WORKER_CODE_H
#define EVRT_WORKER_CODE_H

/* Of a negative errno. */
const char *evrt_code_name(int status);

#endif
