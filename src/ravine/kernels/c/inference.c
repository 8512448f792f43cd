/* Runs a network's forward pass, step by step, on one group of images or on several at once. */

#include <stddef.h>

#include "inference.h"

#if defined(_OPENMP)
#include <omp.h>
#endif

int32_t ravine_convolve(int32_t level, const struct convolution *convolution, int32_t threads);
void take_windows_at(int32_t level, const struct window *window, int32_t threads);
int32_t ravine_response_forward(int32_t level, const struct response *response, int32_t threads);

/* The memory that one group of images works on. */
struct memory {
    const char *images;
    char *result, *workspace;
};

static void *at(const struct memory *m, int64_t place)
{
    switch (place) {
    case NOWHERE: return NULL;
    case IMAGES: return (void *)(uintptr_t)m->images;
    case RESULT: return m->result;
    default: return m->workspace + place;
    }
}

/* Goes on to the next group of channels. */
static void go_to_next_group(struct convolution *c, struct after *after, int64_t kernel_bytes)
{
    int64_t size = c->is_float32 ? (int64_t)sizeof(float) : (int64_t)sizeof(uint16_t);
    c->x = (const char *)c->x + c->in * size;
    if (c->residual)
        c->residual = (const char *)c->residual + c->out * size;
    if (c->y)
        c->y = (char *)c->y + c->out * size;
    c->kernels = (float *)((char *)c->kernels + kernel_bytes);
    after->shift += c->out;
    if (!after->second)
        return;
    after->second = (char *)after->second + c->out * size;
    after->second_scale += c->out, after->second_shift += c->out;
}

static int32_t run_convolution(int32_t level, const struct step *s, const struct memory *m, int32_t threads)
{
    struct convolution c = s->convolution;
    struct after after = s->after;
    c.x = at(m, s->x), c.residual = at(m, s->residual), c.y = at(m, s->y);
    after.second = at(m, s->second);
    c.after = &after;
    int32_t failed = ravine_convolve(level, &c, threads);
    for (int64_t group = 1; group < c.groups && !failed; group++) {
        go_to_next_group(&c, &after, s->kernel_bytes);
        failed = ravine_convolve(level, &c, threads);
    }
    return failed;
}

static int32_t run_step(int32_t level, const struct step *s, const struct memory *m, int32_t threads)
{
    if (s->kind == RESPONSE) {
        struct response r = s->response;
        r.x = at(m, s->x), r.y = at(m, s->y);
        return ravine_response_forward(level, &r, threads);
    }
    if (s->kind == WINDOW) {
        struct window w = s->window;
        w.x = at(m, s->x), w.residual = at(m, s->residual), w.y = at(m, s->y);
        take_windows_at(level, &w, threads);
        return 0;
    }
    return run_convolution(level, s, m, threads);
}

static int32_t run_group(int32_t level, const struct inference *o, int64_t group, int64_t slot,
                         int32_t threads)
{
    struct memory m = {o->images + group * o->image_bytes, o->result + group * o->result_bytes,
                       o->workspace + slot * o->workspace_bytes};
    for (int64_t i = 0; i < o->count; i++) {
        int32_t failed = run_step(level, &o->steps[i], &m, threads);
        if (failed)
            return failed;
    }
    return 0;
}

/* Returns 0, 1 without enough memory, 2 where the level lacks an algorithm. */
int32_t run_inference(int32_t level, const struct inference *o, int32_t threads)
{
    if (o->groups == 1)
        return run_group(level, o, 0, 0, threads);
    int32_t status = 0;
    if (threads > o->groups)
        threads = (int32_t)o->groups;
#pragma omp parallel for schedule(dynamic) num_threads(threads) reduction(| : status)
    for (int64_t group = 0; group < o->groups; group++) {
#if defined(_OPENMP)
        int64_t slot = omp_get_thread_num();
#else
        int64_t slot = 0;
#endif
        status |= run_group(level, o, group, slot, 1);
    }
    return status;
}
