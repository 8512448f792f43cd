#include "reference_norm.h"

#include <math.h>

#include "norm.h"

double activation_of(int kind, double z)
{
    switch (kind) {
    case RELU: return z > 0 ? z : 0;
    case GELU: return z * 0.5 * erfc(-z * 0.70710678118654752);
    case SILU: return z / (1 + exp(-z));
    default: return z;
    }
}

double activation_slope(int kind, double z)
{
    double s = 1 / (1 + exp(-z));
    switch (kind) {
    case RELU: return z > 0;
    case GELU:
        return 0.5 * erfc(-z * 0.70710678118654752) + z * 0.3989422804014327 * exp(-z * z / 2);
    case SILU: return s * (1 + z * (1 - s));
    default: return 1;
    }
}

void find_statistics(struct norm_values *v)
{
    for (int64_t c = 0; c < v->channels; c++) {
        double sum = 0, squares = 0;
        for (int64_t r = 0; r < v->rows; r++)
            sum += v->x[r * v->channels + c];
        v->mean[c] = sum / (double)v->rows;
        for (int64_t r = 0; r < v->rows; r++) {
            double away = v->x[r * v->channels + c] - v->mean[c];
            squares += away * away;
        }
        v->var[c] = squares / (double)v->rows;
        v->rstd[c] = 1 / sqrt(v->var[c] + v->eps);
    }
}

/* The number before the activation. */
static double sum_at(const struct norm_values *v, int64_t i, int64_t c)
{
    double z = (v->x[i] - v->mean[c]) * v->rstd[c] * v->weight[c] + v->bias[c];
    return v->residual ? z + v->residual[i] : z;
}

void find_norm(struct norm_values *v)
{
    for (int64_t i = 0; i < v->rows * v->channels; i++)
        v->y[i] = activation_of(v->kind, sum_at(v, i, i % v->channels));
}

static void find_gradient(struct norm_values *v, int64_t i, int64_t c)
{
    double normal = (v->x[i] - v->mean[c]) * v->rstd[c], count = (double)v->rows;
    double dz = v->dz[i];
    if (!v->is_frozen)
        dz -= v->dbias[c] / count + normal * v->dweight[c] / count;
    v->dx[i] = v->weight[c] * v->rstd[c] * dz + (v->dx_more ? v->dx_more[i] : 0);
}

void find_norm_gradients(struct norm_values *v)
{
    for (int64_t c = 0; c < v->channels; c++)
        v->dweight[c] = v->dbias[c] = 0;
    for (int64_t i = 0; i < v->rows * v->channels; i++) {
        int64_t c = i % v->channels;
        v->dz[i] = v->dy[i] * activation_slope(v->kind, sum_at(v, i, c));
        v->dbias[c] += v->dz[i];
        v->dweight[c] += v->dz[i] * (v->x[i] - v->mean[c]) * v->rstd[c];
    }
    for (int64_t i = 0; i < v->rows * v->channels; i++)
        find_gradient(v, i, i % v->channels);
}
