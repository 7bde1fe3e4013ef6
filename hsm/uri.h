/* An RFC 7512 URI that names a token: `pkcs11:token=e2ee;serial=…?pin-source=file:/run/pin`.
 *
 * Refused: pin-value (a PIN in argv and process lists), pin-source that is no file (`|command`, other schemes),
 * attributes of objects (the keyholder makes its own keys), attributes that nobody knows or that are empty, and PIN attributes before the
 * question mark. */
#ifndef E2EE_HSM_URI_H
#define E2EE_HSM_URI_H

#include "base/err.h"
#include "hsm/module.h"

#define URI_BYTES_MAX 4096

struct uri;

/* ERR_CONFIG; the message never repeats the text, which might hold a PIN. */
struct uri *uri_parse(const char *text, struct err *err) MUST_CHECK;
/* One that names a private key on a token: `pkcs11:token=audit;object=checkpoints`. */
struct uri *uri_parse_object(const char *text, struct err *err) MUST_CHECK;
/* CKA_ID or CKA_LABEL of such a URI, NULL without. Lives as long as uri. */
const CK_ATTRIBUTE *uri_attribute(const struct uri *uri, CK_ATTRIBUTE_TYPE type);
void uri_free(struct uri *uri);
/* The file that pin-source names, NULL without one. Lives as long as uri. */
const char *uri_pin_file(const struct uri *uri);
/* module-path, NULL without one. */
const char *uri_module_path(const struct uri *uri);
/* True when the URI names one device by its serial number, so that no other may take its place. */
bool uri_names_serial(const struct uri *uri);
/* True when token (and the library, when the URI names it) is what the URI names. */
bool uri_matches(const struct uri *uri, const struct module_token *token, const CK_INFO *library);

#endif
