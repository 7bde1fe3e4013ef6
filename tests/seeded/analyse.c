/* Seeded defect: cppcheck and clang's analyser must each report it (scripts/analyse). */
int analyse(int flag)
{
    int *p = 0;
    if (flag)
        p = &flag;
    int value = *p;
    if (p == 0)
        return 1;
    return value;
}
