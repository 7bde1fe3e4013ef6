#include "hsm/uri.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include <p11-kit/uri.h>

#include "base/mem.h"

struct uri {
    P11KitUri *parsed;
    const char *pin_file; /* into parsed */
};

/* An object's URI names one private key by id or label, and nothing else of it. */
static bool judge_object(struct uri *uri, struct err *err)
{
    CK_ULONG count = 0;
    const CK_ATTRIBUTE *attributes = p11_kit_uri_get_attributes(uri->parsed, &count);
    bool named = false, private_key = true;
    for (CK_ULONG i = 0; i < count; i++) {
        named = named || attributes[i].type == CKA_ID || attributes[i].type == CKA_LABEL;
        private_key = private_key && (attributes[i].type != CKA_CLASS ||
                                      *(const CK_OBJECT_CLASS *)attributes[i].pValue == CKO_PRIVATE_KEY);
    }
    return (named && private_key) ||
           err_set(err, ERR_CONFIG, "the URI must name a private key, by id=%%… or object=…");
}

/* p11-kit stops at an attribute of no text without a word: of "token=a;;serial=1" it leaves the serial number out. text
 * was taken by it, so that a colon is in it. */
static bool has_empty_attribute(const char *text)
{
    char separator = ';';
    bool empty = true, after = false; /* the attribute at hand; it follows a separator */
    for (const char *p = strchr(text, ':') + 1;; p++) {
        bool last = *p == '\0' || (*p == '?' && separator == ';');
        if (*p != separator && !last) {
            empty = empty && isspace((unsigned char)*p);
            continue;
        }
        if (empty && (after || !last)) {
            return true;
        }
        if (*p == '\0') {
            return false;
        }
        after = !last;
        empty = true;
        separator = last ? '&' : separator;
    }
}

static bool judge(struct uri *uri, const char *text, bool of_object, struct err *err)
{
    CK_ULONG objects = 0;
    if (has_empty_attribute(text)) {
        return err_set(
            err, ERR_CONFIG,
            "the token URI has a separator (\";\", or \"&\" after the \"?\") with nothing before or "
            "behind it");
    }
    if (p11_kit_uri_get_pin_value(uri->parsed) != NULL) {
        return err_set(err, ERR_CONFIG,
                       "the token URI carries pin-value, which every process list shows: put the PIN into "
                       "a file of mode 0600 and name it by --pin-file or pin-source");
    }
    /* The names of objects first: p11-kit counts unknown attributes apart. */
    p11_kit_uri_get_attributes(uri->parsed, &objects);
    if (of_object && !judge_object(uri, err)) {
        return false;
    }
    if (!of_object && objects != 0) {
        return err_set(err, ERR_CONFIG, "the token URI names an object or a type; it must name a token only");
    }
    if (p11_kit_uri_any_unrecognized(uri->parsed)) {
        return err_set(err, ERR_CONFIG,
                       "the token URI has an attribute that is not known, or one of the query (after \"?\") "
                       "in its path");
    }
    const char *source = p11_kit_uri_get_pin_source(uri->parsed);
    if (source == NULL) {
        return true;
    }
    if (strncmp(source, "file://localhost/", 17) == 0) {
        source += 16;
    } else if (strncmp(source, "file:///", 8) == 0) {
        source += 7;
    } else if (strncmp(source, "file:/", 6) == 0 && source[6] != '/') {
        source += 5;
    }
    if (*source != '/') {
        return err_set(err, ERR_CONFIG,
                       "pin-source must be an absolute path or a file: URI; commands are not run");
    }
    uri->pin_file = source;
    return true;
}

static struct uri *parse(const char *text, bool of_object, struct err *err)
{
    struct uri *uri = NULL;
    if (strlen(text) > URI_BYTES_MAX) {
        err_set(err, ERR_CONFIG, "the token URI is longer than %d bytes", URI_BYTES_MAX);
        return NULL;
    }
    uri = mem_calloc(1, sizeof *uri);
    if (uri == NULL || (uri->parsed = p11_kit_uri_new()) == NULL) {
        err_set(err, ERR_MEMORY, "no memory for the token URI");
        mem_free(uri);
        return NULL;
    }
    int result = p11_kit_uri_parse(text, P11_KIT_URI_FOR_ANY, uri->parsed);
    if (result != P11_KIT_URI_OK) {
        const char *why = p11_kit_uri_message(result);
        err_set(err, ERR_CONFIG,
                "the token URI (RFC 7512, e.g. pkcs11:token=e2ee;serial=1234) is not valid: %s",
                why != NULL ? why : "out of memory");
        uri_free(uri);
        return NULL;
    }
    if (!judge(uri, text, of_object, err)) {
        uri_free(uri);
        return NULL;
    }
    return uri;
}

struct uri *uri_parse(const char *text, struct err *err)
{
    return parse(text, false, err);
}

struct uri *uri_parse_object(const char *text, struct err *err)
{
    return parse(text, true, err);
}

const CK_ATTRIBUTE *uri_attribute(const struct uri *uri, CK_ATTRIBUTE_TYPE type)
{
    return p11_kit_uri_get_attribute(uri->parsed, type);
}

void uri_free(struct uri *uri)
{
    if (uri != NULL) {
        p11_kit_uri_free(uri->parsed);
        mem_free(uri);
    }
}

const char *uri_pin_file(const struct uri *uri)
{
    return uri->pin_file;
}

const char *uri_module_path(const struct uri *uri)
{
    return p11_kit_uri_get_module_path(uri->parsed);
}

bool uri_names_serial(const struct uri *uri)
{
    const CK_TOKEN_INFO *info = p11_kit_uri_get_token_info(uri->parsed);
    return info->serialNumber[0] != '\0'; /* p11-kit leaves zeros where nothing is given */
}

bool uri_matches(const struct uri *uri, const struct module_token *token, const CK_INFO *library)
{
    CK_SLOT_ID id = p11_kit_uri_get_slot_id(uri->parsed);
    return p11_kit_uri_match_token_info(uri->parsed, (CK_TOKEN_INFO *)(uintptr_t)&token->info) == 1 &&
           p11_kit_uri_match_slot_info(uri->parsed, (CK_SLOT_INFO *)(uintptr_t)&token->slot_info) == 1 &&
           p11_kit_uri_match_module_info(uri->parsed, (CK_INFO *)(uintptr_t)library) == 1 &&
           (id == (CK_SLOT_ID)-1 || id == token->slot);
}
