#include "hsm/device.h"

/* A SmartCard-HSM through OpenSC: 128 objects, one of them the module's own; all of them taken, nothing is derived any more. A YubiHSM 2: 256
 * objects, one authentication key among them. */
static const struct device {
    const char *manufacturer;
    size_t places, pairs;
} devices[] = {{"www.CardContact.de", 128, (128 - 1 - DEVICE_PLACES_FREE) / 2}, {"Yubico", 0, 255}};

static const struct device *find(const CK_TOKEN_INFO *info)
{
    for (size_t i = 0; i < sizeof devices / sizeof *devices; i++) {
        const char *name = devices[i].manufacturer;
        size_t n = 0;
        while (name[n] != '\0' && info->manufacturerID[n] == (CK_UTF8CHAR)name[n]) {
            n++;
        }
        if (name[n] == '\0') {
            return &devices[i];
        }
    }
    return NULL;
}

size_t device_places(const CK_TOKEN_INFO *info)
{
    const struct device *device = find(info);
    return device != NULL ? device->places : 0;
}

size_t device_pairs(const CK_TOKEN_INFO *info)
{
    const struct device *device = find(info);
    return device != NULL ? device->pairs : 0;
}
