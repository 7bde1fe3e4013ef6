/* bench_verify N DIR: microseconds of CPU that one verification of DIR's quote takes, collateral read and parsed anew
 * each time as in serve's first handshake. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "attest/attest.h"
#include "base/mem.h"
#include "base/text.h"

#define AT 1790000000

int main(int argc, char **argv)
{
    static struct attest_verdict v;
    struct attest_policy policy;
    struct collateral c;
    struct buf quote, pem;
    struct err err = {0};
    char path[1024];
    struct timespec a, b;
    long count = argc == 3 ? strtol(argv[1], NULL, 10) : 0;
    if (count <= 0) {
        fprintf(stderr, "usage: bench_verify N DIR\n");
        return 2;
    }
    policy_init(&policy);
    policy.pins = POLICY_PINS_OFF;
    collateral_init(&c);
    buf_init(&quote, 65536);
    buf_init(&pem, 65536);
    snprintf(path, sizeof path, "%s/quote.bin", argv[2]);
    bool ok = text_read_file(&quote, path, &err);
    snprintf(path, sizeof path, "%s/root.pem", argv[2]);
    ok = ok && text_read_file(&pem, path, &err) && collateral_load_folder(&c, argv[2], &err);
    struct attest_root *root = ok ? root_parse(pem.data, pem.len, &err) : NULL;
    struct attest_input input = {.quote = quote.data, .quote_len = quote.len, .collateral = &c, .root = root};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &a);
    for (long i = 0; root != NULL && i < count; i++) {
        if (!attest_verify(&input, &policy, AT, &v, &err) || !v.verified) {
            fprintf(stderr, "%s%s\n", err.message, v.reason);
            return 1;
        }
    }
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &b);
    if (root == NULL) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    printf("%.1f\n",
           ((double)(b.tv_sec - a.tv_sec) * 1e6 + (double)(b.tv_nsec - a.tv_nsec) / 1e3) / (double)count);
    root_free(root);
    collateral_free(&c);
    policy_free(&policy);
    buf_free(&quote);
    buf_free(&pem);
    return 0;
}
