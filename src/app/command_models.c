#include <inttypes.h>
#include <stdio.h>

#include "app/command.h"
#include "app/models.h"
#include "session/catalogue.h"
#include "upstream/config.h"

static void print_price(double usd)
{
    if (usd < 0) {
        printf(" %9s", "-");
    } else {
        printf(" %9.2f", usd);
    }
}

static void print_table(const struct catalogue *catalogue)
{
    printf("%-36s %10s %9s %9s  %s\n", "model", "context", "in $/M", "out $/M", "can");
    for (size_t i = 0; i < catalogue_count(catalogue); i++) {
        const struct catalogue_model *m = catalogue_at(catalogue, i);
        printf("%-36s %10" PRIu64, m->id, m->context_tokens);
        print_price(m->input_usd);
        print_price(m->output_usd);
        printf("  text%s%s\n", m->vision ? ", images" : "", m->reasoning ? ", reasoning" : "");
    }
}

int command_models(const struct config *config)
{
    struct err err = {0};
    struct upstream_config *upstream = command_upstream(config, &err);
    struct catalogue *catalogue = upstream != NULL ? models_fetch(upstream, &err) : NULL;
    int code = 0;
    if (catalogue == NULL) {
        code = command_failed(&err);
    } else if (config->json) {
        struct buf out;
        buf_init(&out, LIMIT_CATALOGUE_BYTES);
        catalogue_append_list(catalogue, &out);
        printf("%.*s\n", (int)out.len, out.len > 0 ? (const char *)out.data : "");
        buf_free(&out);
    } else {
        print_table(catalogue);
    }
    catalogue_unref(catalogue);
    upstream_config_free(upstream);
    return code;
}
