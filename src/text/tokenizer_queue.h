/*
 * tokenizer_queue.h - pairs waiting to merge, the lowest (rank, place) first.
 *
 * A binary heap of millions of entries misses the cache at every level, so there is a row of
 * small ones: a lane for each quarter of an octave of ranks, and only the lowest lane with
 * entries in order. Ranks of one lane are near, so its pops visit a word from front to back
 * again and again rather than at random.
 */
#ifndef RAM_TEXT_TOKENIZER_QUEUE_H
#define RAM_TEXT_TOKENIZER_QUEUE_H

#include "base/err.h"

enum { RAM_QUEUE_LANES = 32 * 4 };

struct ram_queue_lane {
    uint64_t *keys;
    size_t n, cap;
};

/* Zeroed storage is an empty queue. */
struct ram_queue {
    struct ram_queue_lane lanes[RAM_QUEUE_LANES];
    size_t current; /* this lane is a heap, those below are empty */
};

/* A pair of this rank at this place of the word. */
static inline uint64_t ram_queue_key(uint32_t rank, uint32_t place)
{
    return (uint64_t)rank << 32 | place;
}

int ram_queue_push(struct ram_queue *queue, uint64_t key, struct ram_err *err);

/* Takes the lowest key; false when the queue is empty, and then it is ready for the next word. */
bool ram_queue_pop(struct ram_queue *queue, uint64_t *key);

/* The place of the entry that is the lowest at the moment; 0 if that is not known. */
static inline uint32_t ram_queue_peek(const struct ram_queue *queue)
{
    const struct ram_queue_lane *lane = &queue->lanes[queue->current];
    return lane->n ? (uint32_t)lane->keys[0] : 0;
}

/* Forgets the entries and keeps the memory. */
void ram_queue_clear(struct ram_queue *queue);
void ram_queue_release(struct ram_queue *queue);

#endif
