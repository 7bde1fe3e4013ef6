#include "hsm/queue.h"

#include <string.h>

#include "base/mem.h"

#define BUCKETS 1024 /* a power of two */

/* One stream that has jobs: in a hash bucket, to be found, and in the ring, to have its turn. */
struct lane {
    uint64_t connection, stream;
    struct job_list jobs;
    struct lane *bucket_next;
    struct lane *ring_prev, *ring_next;
};

struct queue {
    struct lane *buckets[BUCKETS];
    struct lane *turn;  /* whose turn it is; NULL when empty */
    struct lane *spare; /* emptied lanes, linked by bucket_next: no allocation in steady state */
    size_t spare_count;
    size_t length, max;
};

#define SPARE_MAX 256

void job_list_append(struct job_list *list, struct job *job)
{
    job->next = NULL;
    if (list->tail != NULL) {
        list->tail->next = job;
    } else {
        list->head = job;
    }
    list->tail = job;
    list->count++;
}

struct job *job_list_take(struct job_list *list)
{
    struct job *job = list->head;
    if (job != NULL) {
        list->head = job->next;
        list->tail = list->head != NULL ? list->tail : NULL;
        list->count--;
        job->next = NULL;
    }
    return job;
}

void job_list_splice(struct job_list *to, struct job_list *from)
{
    if (from->head == NULL) {
        return;
    }
    if (to->tail != NULL) {
        to->tail->next = from->head;
    } else {
        to->head = from->head;
    }
    to->tail = from->tail;
    to->count += from->count;
    *from = (struct job_list){NULL, NULL, 0};
}

struct queue *queue_new(size_t max, struct err *err)
{
    struct queue *q = mem_calloc(1, sizeof *q);
    if (q == NULL) {
        err_set(err, ERR_MEMORY, "no memory for the queue");
        return NULL;
    }
    q->max = max;
    return q;
}

static struct lane **bucket_of(struct queue *q, uint64_t connection, uint64_t stream)
{
    /* Stream ids are the peer's choice: a bad one costs itself a longer chain, bounded by the queue's length. */
    uint64_t mixed = (connection * UINT64_C(0x9e3779b97f4a7c15)) ^ (stream * UINT64_C(0xc2b2ae3d27d4eb4f));
    return &q->buckets[(mixed >> 40) & (BUCKETS - 1)];
}

static struct lane *find_lane(struct queue *q, uint64_t connection, uint64_t stream)
{
    struct lane *lane = *bucket_of(q, connection, stream);
    while (lane != NULL && (lane->connection != connection || lane->stream != stream)) {
        lane = lane->bucket_next;
    }
    return lane;
}

static struct lane *new_lane(struct queue *q, uint64_t connection, uint64_t stream)
{
    struct lane *lane = q->spare;
    if (lane != NULL) {
        q->spare = lane->bucket_next;
        q->spare_count--;
    } else if ((lane = mem_alloc(sizeof *lane)) == NULL) {
        return NULL;
    }
    struct lane **bucket = bucket_of(q, connection, stream);
    *lane = (struct lane){.connection = connection, .stream = stream, .bucket_next = *bucket};
    *bucket = lane;
    if (q->turn == NULL) {
        q->turn = lane->ring_prev = lane->ring_next = lane;
    } else {
        /* Just before whose turn it is: last in the round. */
        lane->ring_next = q->turn;
        lane->ring_prev = q->turn->ring_prev;
        lane->ring_prev->ring_next = lane->ring_next->ring_prev = lane;
    }
    return lane;
}

static void drop_lane(struct queue *q, struct lane *lane)
{
    struct lane **at = bucket_of(q, lane->connection, lane->stream);
    while (*at != lane) {
        at = &(*at)->bucket_next;
    }
    *at = lane->bucket_next;
    if (lane->ring_next == lane) {
        q->turn = NULL;
    } else {
        lane->ring_prev->ring_next = lane->ring_next;
        lane->ring_next->ring_prev = lane->ring_prev;
        q->turn = q->turn == lane ? lane->ring_next : q->turn;
    }
    if (q->spare_count < SPARE_MAX) {
        lane->bucket_next = q->spare;
        q->spare = lane;
        q->spare_count++;
    } else {
        mem_free(lane);
    }
}

void queue_free(struct queue *q)
{
    if (q == NULL) {
        return;
    }
    while (q->turn != NULL) {
        drop_lane(q, q->turn);
    }
    while (q->spare != NULL) {
        struct lane *lane = q->spare;
        q->spare = lane->bucket_next;
        mem_free(lane);
    }
    mem_free(q);
}

bool queue_put(struct queue *q, struct job *job, struct err *err)
{
    if (q->length == q->max) {
        return err_set(err, ERR_BUSY, "%zu operations wait for the token already", q->length);
    }
    struct lane *lane = find_lane(q, job->connection, job->stream);
    if (lane == NULL && (lane = new_lane(q, job->connection, job->stream)) == NULL) {
        return err_set(err, ERR_MEMORY, "no memory to queue an operation");
    }
    job_list_append(&lane->jobs, job);
    q->length++;
    return true;
}

struct job *queue_take(struct queue *q)
{
    struct lane *lane = q->turn;
    if (lane == NULL) {
        return NULL;
    }
    struct job *job = job_list_take(&lane->jobs);
    q->length--;
    q->turn = lane->ring_next;
    if (lane->jobs.head == NULL) {
        drop_lane(q, lane);
    }
    return job;
}

static void empty_lane(struct queue *q, struct lane *lane, struct job_list *out)
{
    q->length -= lane->jobs.count;
    job_list_splice(out, &lane->jobs);
    drop_lane(q, lane);
}

void queue_remove_stream(struct queue *q, uint64_t connection, uint64_t stream, struct job_list *out)
{
    struct lane *lane = find_lane(q, connection, stream);
    if (lane != NULL) {
        empty_lane(q, lane, out);
    }
}

void queue_remove_connection(struct queue *q, uint64_t connection, struct job_list *out)
{
    struct lane *lane = q->turn, *last = lane != NULL ? lane->ring_prev : NULL;
    while (lane != NULL) {
        struct lane *next = lane == last ? NULL : lane->ring_next;
        if (connection == 0 || lane->connection == connection) {
            empty_lane(q, lane, out);
        }
        lane = next;
    }
}

size_t queue_length(const struct queue *q)
{
    return q->length;
}
