/* Seeded defect: ThreadSanitizer must report it (scripts/detectors). */
#include <pthread.h>
#include <stddef.h>

static int counter;

static void *count(void *arg)
{
    for (int i = 0; i < 100000; i++)
        counter++;
    return arg;
}

int main(void)
{
    pthread_t a, b;
    pthread_create(&a, NULL, count, NULL);
    pthread_create(&b, NULL, count, NULL);
    pthread_join(a, NULL);
    pthread_join(b, NULL);
    return counter == 1;
}
