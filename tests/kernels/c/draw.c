#include "draw.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_BUFFERS = 4096 };

static uint64_t state;
static void *buffers[MOST_BUFFERS];
static int buffer_count;

void seed(uint64_t value)
{
    state = value;
}

/* splitmix64 (Steele, Lea, Flood 2014). */
static uint64_t next(void)
{
    uint64_t z = state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* Of [0, 1). */
static double draw_uniform(void)
{
    return (double)(next() >> 11) * 0x1p-53;
}

int64_t draw_integer(int64_t least, int64_t most)
{
    return least + (int64_t)(next() % (uint64_t)(most - least + 1));
}

int draw_chance(int percent)
{
    return draw_integer(0, 99) < percent;
}

/* A sum of four: near enough to normal, without a logarithm. */
double draw_normal(double mean, double spread)
{
    double sum = -2;
    for (int k = 0; k < 4; k++)
        sum += draw_uniform();
    return mean + spread * sum * 1.7320508075688772;
}

static void *remember(void *buffer)
{
    if (!buffer || buffer_count == MOST_BUFFERS) {
        fprintf(stderr, "no memory for a test\n");
        exit(1);
    }
    return buffers[buffer_count++] = buffer;
}

void *allocate(size_t bytes)
{
    return memset(remember(malloc(bytes)), 0xff, bytes);
}

void *allocate_zeros(size_t bytes)
{
    return memset(remember(malloc(bytes)), 0, bytes);
}

void *copy_of(const void *from, size_t bytes)
{
    return memcpy(remember(malloc(bytes)), from, bytes);
}

void release_all(void)
{
    while (buffer_count)
        free(buffers[--buffer_count]);
}

size_t size_of(int64_t n, int is_float32)
{
    return (size_t)n * (is_float32 ? sizeof(float) : sizeof(uint16_t));
}

void *new_images(int64_t n, int is_float32)
{
    return allocate(size_of(n, is_float32));
}

/* Rounds to nearest even. */
static uint16_t to_bfloat16(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return (uint16_t)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

void *draw_images(int64_t n, int is_float32, double mean, double spread)
{
    if (is_float32)
        return draw_floats(n, mean, spread);
    uint16_t *images = new_images(n, 0);
    for (int64_t i = 0; i < n; i++)
        images[i] = to_bfloat16((float)draw_normal(mean, spread));
    return images;
}

float *draw_floats(int64_t n, double mean, double spread)
{
    float *floats = allocate((size_t)n * sizeof *floats);
    for (int64_t i = 0; i < n; i++)
        floats[i] = (float)draw_normal(mean, spread);
    return floats;
}

double *new_doubles(int64_t n)
{
    return allocate_zeros((size_t)n * sizeof(double));
}

double element_at(const void *images, int is_float32, int64_t i)
{
    if (is_float32)
        return ((const float *)images)[i];
    uint32_t bits = (uint32_t)((const uint16_t *)images)[i] << 16;
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

double *to_doubles(const void *images, int is_float32, int64_t n)
{
    double *doubles = new_doubles(n);
    for (int64_t i = 0; i < n; i++)
        doubles[i] = element_at(images, is_float32, i);
    return doubles;
}

double *floats_to_doubles(const float *floats, int64_t n)
{
    return to_doubles(floats, 1, n);
}

float *to_floats(const double *doubles, int64_t n)
{
    float *floats = allocate((size_t)n * sizeof *floats);
    for (int64_t i = 0; i < n; i++)
        floats[i] = (float)doubles[i];
    return floats;
}
