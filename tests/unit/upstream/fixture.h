/* A loop, and the server of stub_server.h as its upstream. Included by the test programs of this folder, behind cmocka.h. */
#ifndef E2EE_TESTS_UPSTREAM_FIXTURE_H
#define E2EE_TESTS_UPSTREAM_FIXTURE_H

#include <event2/event.h>

#include "upstream/config.h"
#include "upstream/loop.h"
#include "upstream/stub_server.h"

struct fixture {
    struct event_base *base;
    struct upstream_config *config;
    struct upstream_loop *loop;
    struct stub *stub;
};

/* tls as of stub_tls, NULL for plain HTTP. */
static struct fixture set_up(SSL_CTX *tls, const char *ca, uint32_t silence_s, uint32_t first_byte_s)
{
    struct fixture f = {.base = event_base_new(), .stub = stub_start(tls)};
    struct err err = {0};
    char url[64];
    snprintf(url, sizeof url, "%s://localhost:%u/base", tls != NULL ? "https" : "http", f.stub->port);
    f.config = upstream_config_new(&(struct upstream_options){.base_url = url,
                                                              .unsafe_http = true,
                                                              .silence_s = silence_s,
                                                              .first_byte_s = first_byte_s,
                                                              .ca_file = ca},
                                   &err);
    assert_non_null(f.config);
    f.loop = upstream_loop_new(f.base, f.config, &err);
    assert_non_null(f.loop);
    return f;
}

static void tear_down(struct fixture *f)
{
    upstream_loop_free(f->loop);
    upstream_config_free(f->config);
    event_base_free(f->base);
    stub_stop(f->stub);
}

#endif
