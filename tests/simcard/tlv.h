/* BER-TLV as ISO 7816 cards write it: tags of one or two bytes, lengths up to 65535. */
#ifndef E2EE_TESTS_SIMCARD_TLV_H
#define E2EE_TESTS_SIMCARD_TLV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Appends one object to out (room for cap bytes, *len used); false when it does not fit. */
bool tlv_put(uint8_t *out, size_t cap, size_t *len, uint16_t tag, const void *value, size_t value_len);
/* The first object with the tag on this level. False when there is none or the bytes are malformed before it. */
bool tlv_find(const uint8_t *data, size_t len, uint16_t tag, const uint8_t **value, size_t *value_len);

#endif
