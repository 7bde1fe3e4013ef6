/* The least that libcurl needs for many streamed answers at once: what the proxy's memory for each stream is measured
 * beside. One thread, one multi handle. Usage: bench-curl URL BODY_FILE STREAMS [CA_FILE]; prints "open" when every
 * answer has begun, and ends with stdin. */
#include <curl/curl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int begun;

struct one {
    CURL *easy;
    int seen;
};

static size_t on_data(char *data, size_t size, size_t n, void *arg)
{
    struct one *one = arg;
    begun += !one->seen;
    one->seen = 1;
    return size * n;
}

static char *read_body(const char *path)
{
    static char body[65536];
    FILE *f = fopen(path, "rb");
    if (f == NULL) {
        perror(path);
        exit(1);
    }
    body[fread(body, 1, sizeof body - 1, f)] = '\0';
    fclose(f);
    return body;
}

static void start(CURLM *multi, struct one *one, char **argv, const char *body, struct curl_slist *headers)
{
    one->easy = curl_easy_init();
    if (one->easy == NULL) {
        exit(1);
    }
    curl_easy_setopt(one->easy, CURLOPT_URL, argv[1]);
    curl_easy_setopt(one->easy, CURLOPT_POSTFIELDS, body);
    curl_easy_setopt(one->easy, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(one->easy, CURLOPT_WRITEFUNCTION, on_data);
    curl_easy_setopt(one->easy, CURLOPT_WRITEDATA, one);
    curl_easy_setopt(one->easy, CURLOPT_PROXY, "");
    curl_easy_setopt(one->easy, CURLOPT_NOSIGNAL, 1L);
    if (argv[4] != NULL) {
        curl_easy_setopt(one->easy, CURLOPT_CAINFO, argv[4]);
    }
    curl_multi_add_handle(multi, one->easy);
}

int main(int argc, char **argv)
{
    if (argc < 4) {
        fprintf(stderr, "usage: bench-curl URL BODY_FILE STREAMS [CA_FILE]\n");
        return 2;
    }
    curl_global_init(CURL_GLOBAL_DEFAULT);
    int count = (int)strtol(argv[3], NULL, 10), running = 1, told = 0;
    CURLM *multi = curl_multi_init();
    struct one *all = calloc((size_t)count, sizeof *all);
    struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
    char *body = read_body(argv[2]);
    curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, (long)count);
    printf("ready\n");
    fflush(stdout);
    getchar(); /* the idle figure is taken before this byte comes */
    for (int i = 0; i < count; i++) {
        start(multi, &all[i], argv, body, headers);
        curl_multi_perform(multi, &running);
    }
    struct curl_waitfd input = {.fd = STDIN_FILENO, .events = CURL_WAIT_POLLIN};
    while (running > 0) {
        curl_multi_poll(multi, &input, 1, 1000, NULL);
        if (input.revents != 0) {
            break;
        }
        curl_multi_perform(multi, &running);
        if (begun == count && !told) {
            told = 1;
            printf("open\n");
            fflush(stdout);
        }
    }
    return 0; /* the kernel takes the rest */
}
