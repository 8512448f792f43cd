/* Memory that is asked for between products, so that it is in the second cache when it is needed:
   without that a weight gradient waits half of its time. */

#ifndef RAVINE_FETCHING_H
#define RAVINE_FETCHING_H

#include "words.h"

enum { MOST_STREAMS = 4 };

/* Rows of so many bytes, `stride` bytes apart, and after each `group` of them `jump` more. */
struct stream {
    const char *at;
    int64_t bytes, stride, rows;
    int64_t group, jump;
    int64_t done, of_group; /* bytes of the row at hand, rows of the group at hand */
};

struct fetching {
    struct stream streams[MOST_STREAMS];
    int64_t count;
    int64_t lines; /* of each stream at a time */
};

/* Adds a stream, unless its address is null. */
INLINE void fetch_rows(struct fetching *f, const void *at, int64_t bytes, int64_t stride, int64_t rows)
{
    if (bytes == stride)
        bytes *= rows, rows = rows > 0;
    if (at && rows > 0)
        f->streams[f->count++] = (struct stream){at, bytes, stride, rows, rows, 0, 0, 0};
}

/* The same in groups. */
INLINE void fetch_groups(struct fetching *f, const void *at, int64_t bytes, int64_t stride, int64_t rows,
                         int64_t group, int64_t jump)
{
    if (at && rows > 0)
        f->streams[f->count++] = (struct stream){at, bytes, stride, rows, group, jump, 0, 0};
}

/* Spreads all lines over so many calls of `fetch`. */
INLINE void spread_over(struct fetching *f, int64_t calls)
{
    int64_t lines = 0;
    for (int64_t i = 0; i < f->count; i++)
        lines = most(lines, f->streams[i].rows * ((f->streams[i].bytes + LINE - 1) / LINE));
    f->lines = (lines + calls - 1) / most(1, calls);
}

INLINE void fetch(struct fetching *f)
{
    for (int64_t i = 0; i < f->count; i++) {
        struct stream *s = &f->streams[i];
        for (int64_t k = 0; k < f->lines && s->rows; k++) {
            __builtin_prefetch(s->at + s->done, 0, 2);
            s->done += LINE;
            if (s->done < s->bytes)
                continue;
            s->done = 0;
            s->at += s->stride;
            s->rows--;
            if (++s->of_group == s->group)
                s->of_group = 0, s->at += s->jump;
        }
    }
}

/* Asks for a row of `vectors` vectors, so that it is in the second cache when it is needed. */
INLINE void fetch_vectors(const float *row, const int vectors)
{
#pragma GCC unroll 4
    for (int j = 0; j < vectors * LANES; j += LINE / (int)sizeof(float))
        __builtin_prefetch(row + j, 0, 2);
}

#endif
