#include "update_formulas.h"

#include <math.h>

const struct update_formula UPDATE_FORMULAS[UPDATE_FORMULA_COUNT] = {
    {"momentum", MOMENTUM, 0, 1, 0},
    {"nesterov", NESTEROV, 0, 1, 0},
    {"adagrad_eps_in_root", ADAGRAD, 1, 1, 0},
    {"rmsprop_eps_in_root", RMSPROP, 1, 1, 0},
    {"adam_eps_in_root", ADAM, 1, 2, 0},
    {"nadam_lecture_eps_in_root", LECTURE, 1, 2, 1},
    {"nadam_dozat_constant_eps_in_root", DOZAT_CONSTANT, 1, 2, 1},
    {"nadam_dozat_eps_in_root", DOZAT, 1, 2, 1},
    {"nadam_keras_eps_in_root", KERAS, 1, 2, 1},
    {"adagrad", ADAGRAD, 0, 1, 0},
    {"rmsprop", RMSPROP, 0, 1, 0},
    {"adam", ADAM, 0, 2, 0},
    {"nadam_lecture", LECTURE, 0, 2, 1},
    {"nadam_dozat_constant", DOZAT_CONSTANT, 0, 2, 1},
    {"nadam_dozat", DOZAT, 0, 2, 1},
    {"nadam_keras", KERAS, 0, 2, 1},
};

/* One element's numbers. */
struct element_step {
    double gamma, alpha, eps, k, mu, g;
    double *first, *second; /* means of g and of g² */
};

/* The root of a mean of squares, with ε inside or beside it. */
static double root(const struct update_formula *rule, double squares, double eps)
{
    return rule->is_eps_in_root ? sqrt(squares + eps) : sqrt(squares) + eps;
}

static double momentum(struct element_step *s, int is_nesterov)
{
    *s->first = s->gamma * *s->first + (1 - s->gamma) * s->g;
    return is_nesterov ? s->gamma * *s->first + (1 - s->gamma) * s->g : *s->first;
}

/* AdaGrad and RMSProp have one state, the squares. */
static double by_squares(const struct update_formula *rule, struct element_step *s)
{
    double *squares = s->first, square = s->g * s->g;
    *squares = rule->method == ADAGRAD ? *squares + square
                                       : s->alpha * *squares + (1 - s->alpha) * square;
    return s->g / root(rule, *squares, s->eps);
}

/* Nadam's momentum of step k, which grows towards γ. */
static double momentum_at(const struct update_formula *rule, const struct element_step *s, double k)
{
    double psi = rule->method == DOZAT ? 0.004 : 1.0;
    return s->gamma * (1 - 0.5 * pow(0.96, k * psi));
}

static double corrected_mean(const struct update_formula *rule, struct element_step *s)
{
    double gamma = s->gamma, k = s->k;
    if (rule->method == ADAM)
        return *s->first / (1 - pow(gamma, k));
    if (rule->method == LECTURE || rule->method == DOZAT_CONSTANT) {
        double ahead = rule->method == LECTURE ? k : k + 1;
        double now = (1 - gamma) * s->g / (1 - pow(gamma, k));
        return gamma * *s->first / (1 - pow(gamma, ahead)) + now;
    }
    double now = momentum_at(rule, s, k), after = momentum_at(rule, s, k + 1);
    s->mu *= now;
    return after * *s->first / (1 - s->mu * after) + (1 - now) * s->g / (1 - s->mu);
}

static double by_moments(const struct update_formula *rule, struct element_step *s)
{
    *s->first = s->gamma * *s->first + (1 - s->gamma) * s->g;
    *s->second = s->alpha * *s->second + (1 - s->alpha) * s->g * s->g;
    return corrected_mean(rule, s) / root(rule, *s->second / (1 - pow(s->alpha, s->k)), s->eps);
}

double take_step(const struct update_formula *rule, const double *hyper, int64_t k, double mu,
                 double g, double *w, double *const *states)
{
    double lr = hyper[0], coupled = hyper[1], decoupled = hyper[2], scale = hyper[6];
    struct element_step s = {hyper[3], hyper[4], hyper[5], (double)k, mu,
                             scale * g + coupled * *w, states[0], states[1]};
    double direction = rule->method <= NESTEROV  ? momentum(&s, rule->method == NESTEROV)
                       : rule->method <= RMSPROP ? by_squares(rule, &s)
                                                 : by_moments(rule, &s);
    *w = *w * (1 - lr * decoupled) - lr * direction;
    return s.mu;
}
