/* ravine_pixels_to_values, which is exact. */

#include "checks.h"
#include "compare.h"
#include "draw.h"
#include "exported.h"

enum { SHAPES = 40, BYTES = 256 };

static int64_t *draw_positions(int64_t count, int64_t size)
{
    int64_t *positions = allocate((size_t)count * sizeof *positions);
    for (int64_t i = 0; i < count; i++)
        positions[i] = draw_integer(0, size - 1);
    return positions;
}

static struct pixels draw_job(void)
{
    struct pixels o = {.images = draw_integer(1, 5), .height = draw_integer(1, 9),
                       .width = draw_integer(1, 9), .channels = draw_integer(1, 4)};
    int64_t n = o.images * o.height * o.width * o.channels;
    uint8_t *bytes = allocate((size_t)n);
    for (int64_t i = 0; i < n; i++)
        bytes[i] = (uint8_t)draw_integer(0, BYTES - 1);
    o.bytes = bytes, o.table = draw_floats(o.channels * BYTES, 0, 1);
    if (draw_chance(70)) {
        o.rows = draw_positions(o.images * o.height, o.height);
        o.columns = draw_positions(o.images * o.width, o.width);
    }
    return o;
}

static const float *find_wanted(const struct pixels *o)
{
    int64_t n = o->images * o->height * o->width * o->channels;
    float *values = allocate((size_t)n * sizeof *values);
    for (int64_t i = 0; i < n; i++) {
        int64_t channel = i % o->channels, x = i / o->channels % o->width;
        int64_t y = i / o->channels / o->width % o->height;
        int64_t image = i / o->channels / o->width / o->height;
        int64_t row = o->rows ? o->rows[image * o->height + y] : y;
        int64_t column = o->columns ? o->columns[image * o->width + x] : x;
        int64_t from = ((image * o->height + row) * o->width + column) * o->channels + channel;
        values[i] = o->table[channel * BYTES + o->bytes[from]];
    }
    return values;
}

static void check_job(struct pixels *o, int level)
{
    const float *wanted = find_wanted(o);
    size_t bytes = (size_t)(o->images * o->height * o->width * o->channels) * sizeof *wanted;
    begin_shape("%lld images of %lldx%lld, %lld channels, positions %d", (long long)o->images,
                (long long)o->height, (long long)o->width, (long long)o->channels,
                o->rows != NULL);
    for (int threads = 1; threads <= THREADS; threads += THREADS - 1) {
        o->values = allocate(bytes);
        ravine_pixels_to_values(level, o, threads);
        expect_same("values", o->values, wanted, bytes);
    }
}

void check_pixels(void)
{
    for (int level = BASE; level <= AMX; level++) {
        if (!has_level(level))
            continue;
        begin_kernel("pixels to values", 1, level, 0);
        seed(6);
        for (int k = 0; k < SHAPES; k++) {
            struct pixels o = draw_job();
            check_job(&o, level);
            release_all();
        }
        end_kernel();
    }
}
