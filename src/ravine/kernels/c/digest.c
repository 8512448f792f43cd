/* digest = Σ word·oddⁿ⁻ⁱ modulo 2³², in many lanes side by side: a change of one word always changes
   it, as does a change of order; of many changes one in 2³² or fewer may not. */

#include "digest.h"
#include "lanes.h"

enum { STREAMS = 4, AT_ONCE = STREAMS * LANES };
static const uint32_t ODD = 0x9e3779b1u;

static uint64_t digest_of(const char *memory, int64_t bytes)
{
    words sums[STREAMS] = {{0}};
    int64_t at = 0, step = AT_ONCE * (int64_t)sizeof(uint32_t);
    for (; at + step <= bytes; at += step)
        for (int i = 0; i < STREAMS; i++) {
            words w;
            memcpy(&w, memory + at + i * (int64_t)sizeof w, sizeof w);
            sums[i] = sums[i] * ODD + w;
        }
    uint64_t all = (uint64_t)bytes;
    for (int i = 0; i < STREAMS; i++)
        for (int lane = 0; lane < LANES; lane++)
            all = all * 0x9e3779b97f4a7c15u + sums[i][lane];
    for (; at < bytes; at++)
        all = all * 0x9e3779b97f4a7c15u + (unsigned char)memory[at];
    return all;
}

void FOR_LEVEL(take_digests)(const struct digest *o, int32_t threads)
{
    (void)threads;
#pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (int64_t i = 0; i < o->count; i++)
        o->digests[i] = digest_of(o->memory[i], o->bytes[i]);
}
