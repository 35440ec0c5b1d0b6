#include "reference.h"

#include <stdio.h>
#include <string.h>

struct counters counters;

int main(int count, char **arguments)
{
    struct work work;
    const char *role = count > 1 ? arguments[1] : "";

    parse_work(count, arguments, &work);
    if (strcmp(role, "receive") == 0)
        receive(&work);
    if (strcmp(role, "send") == 0)
        send_on(&work);
    if (strcmp(role, "ping") == 0)
        ping(&work, 0);
    if (strcmp(role, "clock") == 0)
        ping(&work, 1);
    if (strcmp(role, "pong") == 0)
        pong(&work);
    if (strcmp(role, "http") == 0)
        serve_http(&work);
    fprintf(stderr, "usage: reference receive|send|ping|pong|clock|http --group G --port P --interface I ...\n");
    return 2;
}
