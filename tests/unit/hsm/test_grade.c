/* What rates mean, at their boundaries. */
#include "hsm/device.h"
#include "hsm/grade.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static struct grade graded(double derives, double pairs, size_t room)
{
    struct rate rates[] = {{1, derives, 0, 0}};
    struct grade grade;
    grade_token(&grade, &(struct grade_input){.fit = true,
                                              .derive = rates,
                                              .derive_count = 1,
                                              .pairs_per_second = pairs,
                                              .software_per_second = 20000,
                                              .room = room});
    return grade;
}

static void test_custody(void **state)
{
    static const struct {
        double derives;
        const char *verdict, *custody;
        uint64_t streams;
    } cases[] = {
        {2.0, "slow", "session", 0},     {49.9, "slow", "session", 0}, {50.0, "moderate", "token", 1},
        {199.0, "moderate", "token", 3}, {200.0, "fast", "token", 4},  {1670.5, "fast", "token", 33},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct grade g = graded(cases[i].derives, 100, 0);
        assert_string_equal(g.verdict, cases[i].verdict);
        assert_string_equal(g.custody, cases[i].custody);
        assert_int_equal(g.streams_token, cases[i].streams);
        assert_int_equal(g.streams_session, 400);
        assert_int_equal(g.pairs_per_year, 8760);
    }
}

static void test_models(void **state)
{
    assert_int_equal(graded(100, 100, 0).models, 128);
    assert_int_equal(graded(100, 100, 255).models, 127);
    assert_int_equal(graded(100, 100, 62).models, 31);
    assert_string_equal(graded(100, 100, 62).models_limit, "key pairs that the token holds");
    /* 20 s for a pair: 18 take a tenth of an hour */
    assert_int_equal(graded(100, 0.05, 62).models, 18);
    assert_string_equal(graded(100, 0.05, 62).models_limit, "time that the token takes for new key pairs");
}

/* The fewest sessions that are nearly as good as the best. */
static void test_sessions(void **state)
{
    struct rate rates[] = {{1, 500, 0, 0}, {2, 960, 0, 0}, {4, 1000, 0, 0}, {8, 940, 0, 0}};
    struct grade g;
    struct grade_input in = {.fit = true, .derive = rates, .derive_count = 4, .pairs_per_second = 1};
    grade_token(&g, &in);
    assert_int_equal(g.sessions, 2);
    assert_true(g.chunks_per_second > 999 && g.chunks_per_second < 1001);
    in.derive_count = 1;
    grade_token(&g, &in);
    assert_int_equal(g.sessions, 1);
}

static void test_unfit(void **state)
{
    struct rate rates[] = {{1, 500, 0, 0}};
    struct grade g;
    grade_token(&g, &(struct grade_input){.fit = false, .derive = rates, .derive_count = 1});
    assert_string_equal(g.verdict, "unfit");
    assert_null(g.custody);
    grade_token(&g, &(struct grade_input){.fit = true});
    assert_string_equal(g.verdict, "unfit");
}

static CK_TOKEN_INFO made_by(const char *manufacturer)
{
    CK_TOKEN_INFO info;
    memset(&info, ' ', sizeof info);
    memcpy(info.manufacturerID, manufacturer, strlen(manufacturer));
    return info;
}

static void test_known_devices(void **state)
{
    CK_TOKEN_INFO card = made_by("www.CardContact.de"), yubihsm = made_by("Yubico (www.yubico.com)"),
                  soft = made_by("SoftHSM project"), cut = made_by("Yub");
    assert_int_equal(device_pairs(&card), 59);
    assert_int_equal(device_places(&card), 128);
    assert_int_equal(device_pairs(&yubihsm), 255);
    assert_int_equal(device_places(&yubihsm), 0);
    assert_int_equal(device_pairs(&soft) + device_places(&soft) + device_pairs(&cut), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_custody), cmocka_unit_test(test_models),        cmocka_unit_test(test_sessions),
        cmocka_unit_test(test_unfit),   cmocka_unit_test(test_known_devices),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
