/* Seeded defect: UndefinedBehaviorSanitizer must report it (scripts/detectors). */
int main(int argc, char **argv)
{
    (void)argv;
    volatile int by = 31 + argc;
    return (1 << by) == 5;
}
