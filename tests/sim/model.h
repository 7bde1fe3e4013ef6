/*
 * The catalogue (docs/PROTOCOL.md section 5): who answers for which model, and with which key.
 */
#ifndef SIM_MODEL_H
#define SIM_MODEL_H

#include "crypto.h"
#include "fault.h"

enum flavour { FLAVOUR_NR, FLAVOUR_NP, FLAVOUR_DV, FLAVOUR_PG };
enum shape { SHAPE_NEAR, SHAPE_PHALA, SHAPE_ACI };

struct model {
    char *id, *upstream, *provider;
    enum flavour flavour;
    enum shape shape;
    bool e2ee, tee, reasoning, vision, tools, behind_ca, keyset_only, no_key;
    long context;
    struct sim_key *key; /* models on PG share one */
};

/* The built-in catalogue, or that of a JSON file (README.md); with_faults lists "ID@FAULT" for each fault as well. */
bool model_load(const char *file, bool with_faults);
void model_unload(void);
/* The model of an id, with or without a suffix "@FAULT", which then lands in *use. */
struct model *model_find(const char *id, struct fault_use *use);
/* New key for one model (and those that share it), or for all. */
bool model_rotate(const char *id);
/* Body of GET /models: type "text" filters out the image model. Caller frees. */
char *model_list(void);
const char *model_flavour_name(enum flavour flavour);

#endif
