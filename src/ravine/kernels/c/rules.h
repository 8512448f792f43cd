/* Written by scripts/make_kernels.py from ravine/optim/rules.py: `make kernels`, not by hand.

   A row of hyperparameters h: lr, coupled, decoupled, gamma, alpha, eps, scale.
   k: number of the step; mu: product of the momenta so far. */

static double momentum_coefficients(const double *h, double k, double mu, float *c)
{
    const double lr = h[0];
    const double coupled = h[1];
    const double decoupled = h[2];
    const double gamma = h[3];
    const double scale = h[6];
    (void)k;
    (void)mu;
    const double n0 = lr * decoupled;
    const double n1 = 1.0 - n0;
    const double n2 = 1.0 - gamma;
    const double n3 = 1.0 - n2;
    const double n4 = -lr;
    c[0] = (float)n1;
    c[1] = (float)n3;
    c[2] = (float)scale;
    c[3] = (float)coupled;
    c[4] = (float)n2;
    c[5] = (float)n4;
    return mu;
}

static void momentum_update(const float *restrict c, const struct range *restrict r)
{
    const float c0 = c[0];
    const float c1 = c[1];
    const float c2 = c[2];
    const float c3 = c[3];
    const float c4 = c[4];
    const float c5 = c[5];
    float *restrict W = r->w;
    const float *restrict D = r->g;
    float *restrict S0 = r->state[0];
    for (int64_t i = 0; i < r->n; i++) {
        const float w = W[i], g = D[i];
        const float v = S0[i];
        const float e0 = w * c0;
        const float e1 = v * c1;
        const float e2 = g * c2;
        const float e3 = w * c3;
        const float e4 = e2 + e3;
        const float e5 = e4 * c4;
        const float e6 = e1 + e5;
        const float e7 = e6 * c5;
        const float e8 = e0 + e7;
        W[i] = e8;
        S0[i] = e6;
    }
}

static double nesterov_coefficients(const double *h, double k, double mu, float *c)
{
    const double lr = h[0];
    const double coupled = h[1];
    const double decoupled = h[2];
    const double gamma = h[3];
    const double scale = h[6];
    (void)k;
    (void)mu;
    const double n0 = lr * decoupled;
    const double n1 = 1.0 - n0;
    const double n2 = 1.0 - gamma;
    const double n3 = 1.0 - n2;
    const double n4 = 1.0 - gamma;
    const double n5 = 1.0 - n4;
    const double n6 = -lr;
    c[0] = (float)n1;
    c[1] = (float)n3;
    c[2] = (float)scale;
    c[3] = (float)coupled;
    c[4] = (float)n2;
    c[5] = (float)n5;
    c[6] = (float)n4;
    c[7] = (float)n6;
    return mu;
}

static void nesterov_update(const float *restrict c, const struct range *restrict r)
{
    const float c0 = c[0];
    const float c1 = c[1];
    const float c2 = c[2];
    const float c3 = c[3];
    const float c4 = c[4];
    const float c5 = c[5];
    const float c6 = c[6];
    const float c7 = c[7];
    float *restrict W = r->w;
    const float *restrict D = r->g;
    float *restrict S0 = r->state[0];
    for (int64_t i = 0; i < r->n; i++) {
        const float w = W[i], g = D[i];
        const float v = S0[i];
        const float e0 = w * c0;
        const float e1 = v * c1;
        const float e2 = g * c2;
        const float e3 = w * c3;
        const float e4 = e2 + e3;
        const float e5 = e4 * c4;
        const float e6 = e1 + e5;
        const float e7 = e6 * c5;
        const float e8 = e4 * c6;
        const float e9 = e7 + e8;
        const float e10 = e9 * c7;
        const float e11 = e0 + e10;
        W[i] = e11;
        S0[i] = e6;
    }
}

static double adagrad_eps_in_root_coefficients(const double *h, double k, double mu, float *c)
{
    const double lr = h[0];
    const double coupled = h[1];
    const double decoupled = h[2];
    const double eps = h[5];
    const double scale = h[6];
    (void)k;
    (void)mu;
    const double n0 = lr * decoupled;
    const double n1 = 1.0 - n0;
    const double n2 = -lr;
    c[0] = (float)n1;
    c[1] = (float)scale;
    c[2] = (float)coupled;
    c[3] = (float)eps;
    c[4] = (float)n2;
    return mu;
}

static void adagrad_eps_in_root_update(const float *restrict c, const struct range *restrict r)
{
    const float c0 = c[0];
    const float c1 = c[1];
    const float c2 = c[2];
    const float c3 = c[3];
    const float c4 = c[4];
    float *restrict W = r->w;
    const float *restrict D = r->g;
    float *restrict S0 = r->state[0];
    for (int64_t i = 0; i < r->n; i++) {
        const float w = W[i], g = D[i];
        const float G = S0[i];
        const float e0 = w * c0;
        const float e1 = g * c1;
        const float e2 = w * c2;
        const float e3 = e1 + e2;
        const float e4 = AT_LEAST(e3, -5.7646073512355405e+17f);
        const float e5 = AT_MOST(e4, 5.7646073512355405e+17f);
        const float e6 = e5 * e5;
        const float e7 = G + e6;
        const float e8 = AT_MOST(e7, 3.4028234663852886e+38f);
        const float e9 = e8 + c3;
        const float e10 = SQRT(e9);
        const float e11 = e5 / e10;
        const float e12 = e11 * c4;
        const float e13 = e0 + e12;
        W[i] = e13;
        S0[i] = e8;
    }
}

static double rmsprop_eps_in_root_coefficients(const double *h, double k, double mu, float *c)
{
    const double lr = h[0];
    const double coupled = h[1];
    const double decoupled = h[2];
    const double alpha = h[4];
    const double eps = h[5];
    const double scale = h[6];
    (void)k;
    (void)mu;
    const double n0 = lr * decoupled;
    const double n1 = 1.0 - n0;
    const double n2 = 1.0 - alpha;
    const double n3 = -lr;
    c[0] = (float)n1;
    c[1] = (float)scale;
    c[2] = (float)coupled;
    c[3] = (float)alpha;
    c[4] = (float)n2;
    c[5] = (float)eps;
    c[6] = (float)n3;
    return mu;
}

static void rmsprop_eps_in_root_update(const float *restrict c, const struct range *restrict r)
{
    const float c0 = c[0];
    const float c1 = c[1];
    const float c2 = c[2];
    const float c3 = c[3];
    const float c4 = c[4];
    const float c5 = c[5];
    const float c6 = c[6];
    float *restrict W = r->w;
    const float *restrict D = r->g;
    float *restrict S0 = r->state[0];
    for (int64_t i = 0; i < r->n; i++) {
        const float w = W[i], g = D[i];
        const float G = S0[i];
        const float e0 = w * c0;
        const float e1 = g * c1;
        const float e2 = w * c2;
        const float e3 = e1 + e2;
        const float e4 = AT_LEAST(e3, -5.7646073512355405e+17f);
        const float e5 = AT_MOST(e4, 5.7646073512355405e+17f);
        const float e6 = G * c3;
        const float e7 = e5 * c4;
        const float e8 = e7 * e5;
        const float e9 = e6 + e8;
        const float e10 = e9 + c5;
        const float e11 = SQRT(e10);
        const float e12 = e5 / e11;
        const float e13 = e12 * c6;
        const float e14 = e0 + e13;
        W[i] = e14;
        S0[i] = e9;
    }
}

static double adam_eps_in_root_coefficients(const double *h, double k, double mu, float *c)
{
    const double lr = h[0];
    const double coupled = h[1];
    const double decoupled = h[2];
    const double gamma = h[3];
    const double alpha = h[4];
    const double eps = h[5];
    const double scale = h[6];
    (void)mu;
    const double n0 = lr * decoupled;
    const double n1 = 1.0 - n0;
    const double n2 = 1.0 - gamma;
    const double n3 = 1.0 - n2;
    const double n4 = 1.0 - alpha;
    const double n5 = POW(alpha, k);
    const double n6 = 1.0 - n5;
    const double n7 = eps * n6;
    const double n8 = POW(gamma, k);
    const double n9 = 1.0 - n8;
    const double n10 = SQRT(n6);
    const double n11 = n9 / n10;
    const double n12 = -lr;
    c[0] = (float)n1;
    c[1] = (float)n3;
    c[2] = (float)scale;
    c[3] = (float)coupled;
    c[4] = (float)n2;
    c[5] = (float)alpha;
    c[6] = (float)n4;
    c[7] = (float)n7;
    c[8] = (float)n11;
    c[9] = (float)n12;
    return mu;
}

static void adam_eps_in_root_update(const float *restrict c, const struct range *restrict r)
{
    const float c0 = c[0];
    const float c1 = c[1];
    const float c2 = c[2];
    const float c3 = c[3];
    const float c4 = c[4];
    const float c5 = c[5];
    const float c6 = c[6];
    const float c7 = c[7];
    const float c8 = c[8];
    const float c9 = c[9];
    float *restrict W = r->w;
    const float *restrict D = r->g;
    float *restrict S0 = r->state[0];
    float *restrict S1 = r->state[1];
    for (int64_t i = 0; i < r->n; i++) {
        const float w = W[i], g = D[i];
        const float v = S0[i];
        const float G = S1[i];
        const float e0 = w * c0;
        const float e1 = v * c1;
        const float e2 = g * c2;
        const float e3 = w * c3;
        const float e4 = e2 + e3;
        const float e5 = AT_LEAST(e4, -5.7646073512355405e+17f);
        const float e6 = AT_MOST(e5, 5.7646073512355405e+17f);
        const float e7 = e6 * c4;
        const float e8 = e1 + e7;
        const float e9 = G * c5;
        const float e10 = e6 * c6;
        const float e11 = e10 * e6;
        const float e12 = e9 + e11;
        const float e13 = e12 + c7;
        const float e14 = SQRT(e13);
        const float e15 = e14 * c8;
        const float e16 = e8 / e15;
        const float e17 = e16 * c9;
        const float e18 = e0 + e17;
        W[i] = e18;
        S0[i] = e8;
        S1[i] = e12;
    }
}

static double nadam_lecture_eps_in_root_coefficients(const double *h, double k, double mu, float *c)
{
    const double lr = h[0];
    const double coupled = h[1];
    const double decoupled = h[2];
    const double gamma = h[3];
    const double alpha = h[4];
    const double eps = h[5];
    const double scale = h[6];
    const double n0 = lr * decoupled;
    const double n1 = 1.0 - n0;
    const double n2 = 1.0 - gamma;
    const double n3 = 1.0 - n2;
    const double n4 = POW(gamma, k);
    const double n5 = 1.0 - n4;
    const double n6 = gamma / n5;
    const double n7 = 1.0 - gamma;
    const double n8 = POW(gamma, k);
    const double n9 = 1.0 - n8;
    const double n10 = n7 / n9;
    const double n11 = n6 / n10;
    const double n12 = 1.0 - alpha;
    const double n13 = POW(alpha, k);
    const double n14 = 1.0 - n13;
    const double n15 = eps * n14;
    const double n16 = 1.0 / n10;
    const double n17 = SQRT(n14);
    const double n18 = n16 / n17;
    const double n19 = -lr;
    c[0] = (float)n1;
    c[1] = (float)n3;
    c[2] = (float)scale;
    c[3] = (float)coupled;
    c[4] = (float)n2;
    c[5] = (float)n11;
    c[6] = (float)alpha;
    c[7] = (float)n12;
    c[8] = (float)n15;
    c[9] = (float)n18;
    c[10] = (float)n19;
    return mu;
}

static void nadam_lecture_eps_in_root_update(const float *restrict c, const struct range *restrict r)
{
    const float c0 = c[0];
    const float c1 = c[1];
    const float c2 = c[2];
    const float c3 = c[3];
    const float c4 = c[4];
    const float c5 = c[5];
    const float c6 = c[6];
    const float c7 = c[7];
    const float c8 = c[8];
    const float c9 = c[9];
    const float c10 = c[10];
    float *restrict W = r->w;
    const float *restrict D = r->g;
    float *restrict S0 = r->state[0];
    float *restrict S1 = r->state[1];
    for (int64_t i = 0; i < r->n; i++) {
        const float w = W[i], g = D[i];
        const float v = S0[i];
        const float G = S1[i];
        const float e0 = w * c0;
        const float e1 = v * c1;
        const float e2 = g * c2;
        const float e3 = w * c3;
        const float e4 = e2 + e3;
        const float e5 = AT_LEAST(e4, -5.7646073512355405e+17f);
        const float e6 = AT_MOST(e5, 5.7646073512355405e+17f);
        const float e7 = e6 * c4;
        const float e8 = e1 + e7;
        const float e9 = e8 * c5;
        const float e10 = e6 * 1.0f;
        const float e11 = e9 + e10;
        const float e12 = G * c6;
        const float e13 = e6 * c7;
        const float e14 = e13 * e6;
        const float e15 = e12 + e14;
        const float e16 = e15 + c8;
        const float e17 = SQRT(e16);
        const float e18 = e17 * c9;
        const float e19 = e11 / e18;
        const float e20 = e19 * c10;
        const float e21 = e0 + e20;
        W[i] = e21;
        S0[i] = e8;
        S1[i] = e15;
    }
}

static double nadam_dozat_constant_eps_in_root_coefficients(const double *h, double k, double mu, float *c)
{
    const double lr = h[0];
    const double coupled = h[1];
    const double decoupled = h[2];
    const double gamma = h[3];
    const double alpha = h[4];
    const double eps = h[5];
    const double scale = h[6];
    const double n0 = lr * decoupled;
    const double n1 = 1.0 - n0;
    const double n2 = 1.0 - gamma;
    const double n3 = 1.0 - n2;
    const double n4 = k + 1.0;
    const double n5 = POW(gamma, n4);
    const double n6 = 1.0 - n5;
    const double n7 = gamma / n6;
    const double n8 = 1.0 - gamma;
    const double n9 = POW(gamma, k);
    const double n10 = 1.0 - n9;
    const double n11 = n8 / n10;
    const double n12 = n7 / n11;
    const double n13 = 1.0 - alpha;
    const double n14 = POW(alpha, k);
    const double n15 = 1.0 - n14;
    const double n16 = eps * n15;
    const double n17 = 1.0 / n11;
    const double n18 = SQRT(n15);
    const double n19 = n17 / n18;
    const double n20 = -lr;
    c[0] = (float)n1;
    c[1] = (float)n3;
    c[2] = (float)scale;
    c[3] = (float)coupled;
    c[4] = (float)n2;
    c[5] = (float)n12;
    c[6] = (float)alpha;
    c[7] = (float)n13;
    c[8] = (float)n16;
    c[9] = (float)n19;
    c[10] = (float)n20;
    return mu;
}

static void nadam_dozat_constant_eps_in_root_update(const float *restrict c, const struct range *restrict r)
{
    const float c0 = c[0];
    const float c1 = c[1];
    const float c2 = c[2];
    const float c3 = c[3];
    const float c4 = c[4];
    const float c5 = c[5];
    const float c6 = c[6];
    const float c7 = c[7];
    const float c8 = c[8];
    const float c9 = c[9];
    const float c10 = c[10];
    float *restrict W = r->w;
    const float *restrict D = r->g;
    float *restrict S0 = r->state[0];
    float *restrict S1 = r->state[1];
    for (int64_t i = 0; i < r->n; i++) {
        const float w = W[i], g = D[i];
        const float v = S0[i];
        const float G = S1[i];
        const float e0 = w * c0;
        const float e1 = v * c1;
        const float e2 = g * c2;
        const float e3 = w * c3;
        const float e4 = e2 + e3;
        const float e5 = AT_LEAST(e4, -5.7646073512355405e+17f);
        const float e6 = AT_MOST(e5, 5.7646073512355405e+17f);
        const float e7 = e6 * c4;
        const float e8 = e1 + e7;
        const float e9 = e8 * c5;
        const float e10 = e6 * 1.0f;
        const float e11 = e9 + e10;
        const float e12 = G * c6;
        const float e13 = e6 * c7;
        const float e14 = e13 * e6;
        const float e15 = e12 + e14;
        const float e16 = e15 + c8;
        const float e17 = SQRT(e16);
        const float e18 = e17 * c9;
        const float e19 = e11 / e18;
        const float e20 = e19 * c10;
        const float e21 = e0 + e20;
        W[i] = e21;
        S0[i] = e8;
        S1[i] = e15;
    }
}

static double nadam_dozat_eps_in_root_coefficients(const double *h, double k, double mu, float *c)
{
    const double lr = h[0];
    const double coupled = h[1];
    const double decoupled = h[2];
    const double gamma = h[3];
    const double alpha = h[4];
    const double eps = h[5];
    const double scale = h[6];
    const double n0 = lr * decoupled;
    const double n1 = 1.0 - n0;
    const double n2 = 1.0 - gamma;
    const double n3 = 1.0 - n2;
    const double n4 = k + 1.0;
    const double n5 = n4 * 0.004;
    const double n6 = POW(0.96, n5);
    const double n7 = 0.5 * n6;
    const double n8 = 1.0 - n7;
    const double n9 = gamma * n8;
    const double n10 = k * 0.004;
    const double n11 = POW(0.96, n10);
    const double n12 = 0.5 * n11;
    const double n13 = 1.0 - n12;
    const double n14 = gamma * n13;
    const double n15 = mu * n14;
    const double n16 = n15 * n9;
    const double n17 = 1.0 - n16;
    const double n18 = n9 / n17;
    const double n19 = 1.0 - n14;
    const double n20 = 1.0 - n15;
    const double n21 = n19 / n20;
    const double n22 = n18 / n21;
    const double n23 = 1.0 - alpha;
    const double n24 = POW(alpha, k);
    const double n25 = 1.0 - n24;
    const double n26 = eps * n25;
    const double n27 = 1.0 / n21;
    const double n28 = SQRT(n25);
    const double n29 = n27 / n28;
    const double n30 = -lr;
    c[0] = (float)n1;
    c[1] = (float)n3;
    c[2] = (float)scale;
    c[3] = (float)coupled;
    c[4] = (float)n2;
    c[5] = (float)n22;
    c[6] = (float)alpha;
    c[7] = (float)n23;
    c[8] = (float)n26;
    c[9] = (float)n29;
    c[10] = (float)n30;
    return n15;
}

static void nadam_dozat_eps_in_root_update(const float *restrict c, const struct range *restrict r)
{
    const float c0 = c[0];
    const float c1 = c[1];
    const float c2 = c[2];
    const float c3 = c[3];
    const float c4 = c[4];
    const float c5 = c[5];
    const float c6 = c[6];
    const float c7 = c[7];
    const float c8 = c[8];
    const float c9 = c[9];
    const float c10 = c[10];
    float *restrict W = r->w;
    const float *restrict D = r->g;
    float *restrict S0 = r->state[0];
    float *restrict S1 = r->state[1];
    for (int64_t i = 0; i < r->n; i++) {
        const float w = W[i], g = D[i];
        const float v = S0[i];
        const float G = S1[i];
        const float e0 = w * c0;
        const float e1 = v * c1;
        const float e2 = g * c2;
        const float e3 = w * c3;
        const float e4 = e2 + e3;
        const float e5 = AT_LEAST(e4, -5.7646073512355405e+17f);
        const float e6 = AT_MOST(e5, 5.7646073512355405e+17f);
        const float e7 = e6 * c4;
        const float e8 = e1 + e7;
        const float e9 = e8 * c5;
        const float e10 = e6 * 1.0f;
        const float e11 = e9 + e10;
        const float e12 = G * c6;
        const float e13 = e6 * c7;
        const float e14 = e13 * e6;
        const float e15 = e12 + e14;
        const float e16 = e15 + c8;
        const float e17 = SQRT(e16);
        const float e18 = e17 * c9;
        const float e19 = e11 / e18;
        const float e20 = e19 * c10;
        const float e21 = e0 + e20;
        W[i] = e21;
        S0[i] = e8;
        S1[i] = e15;
    }
}

static double nadam_keras_eps_in_root_coefficients(const double *h, double k, double mu, float *c)
{
    const double lr = h[0];
    const double coupled = h[1];
    const double decoupled = h[2];
    const double gamma = h[3];
    const double alpha = h[4];
    const double eps = h[5];
    const double scale = h[6];
    const double n0 = lr * decoupled;
    const double n1 = 1.0 - n0;
    const double n2 = 1.0 - gamma;
    const double n3 = 1.0 - n2;
    const double n4 = k + 1.0;
    const double n5 = n4 * 1.0;
    const double n6 = POW(0.96, n5);
    const double n7 = 0.5 * n6;
    const double n8 = 1.0 - n7;
    const double n9 = gamma * n8;
    const double n10 = k * 1.0;
    const double n11 = POW(0.96, n10);
    const double n12 = 0.5 * n11;
    const double n13 = 1.0 - n12;
    const double n14 = gamma * n13;
    const double n15 = mu * n14;
    const double n16 = n15 * n9;
    const double n17 = 1.0 - n16;
    const double n18 = n9 / n17;
    const double n19 = 1.0 - n14;
    const double n20 = 1.0 - n15;
    const double n21 = n19 / n20;
    const double n22 = n18 / n21;
    const double n23 = 1.0 - alpha;
    const double n24 = POW(alpha, k);
    const double n25 = 1.0 - n24;
    const double n26 = eps * n25;
    const double n27 = 1.0 / n21;
    const double n28 = SQRT(n25);
    const double n29 = n27 / n28;
    const double n30 = -lr;
    c[0] = (float)n1;
    c[1] = (float)n3;
    c[2] = (float)scale;
    c[3] = (float)coupled;
    c[4] = (float)n2;
    c[5] = (float)n22;
    c[6] = (float)alpha;
    c[7] = (float)n23;
    c[8] = (float)n26;
    c[9] = (float)n29;
    c[10] = (float)n30;
    return n15;
}

static void nadam_keras_eps_in_root_update(const float *restrict c, const struct range *restrict r)
{
    const float c0 = c[0];
    const float c1 = c[1];
    const float c2 = c[2];
    const float c3 = c[3];
    const float c4 = c[4];
    const float c5 = c[5];
    const float c6 = c[6];
    const float c7 = c[7];
    const float c8 = c[8];
    const float c9 = c[9];
    const float c10 = c[10];
    float *restrict W = r->w;
    const float *restrict D = r->g;
    float *restrict S0 = r->state[0];
    float *restrict S1 = r->state[1];
    for (int64_t i = 0; i < r->n; i++) {
        const float w = W[i], g = D[i];
        const float v = S0[i];
        const float G = S1[i];
        const float e0 = w * c0;
        const float e1 = v * c1;
        const float e2 = g * c2;
        const float e3 = w * c3;
        const float e4 = e2 + e3;
        const float e5 = AT_LEAST(e4, -5.7646073512355405e+17f);
        const float e6 = AT_MOST(e5, 5.7646073512355405e+17f);
        const float e7 = e6 * c4;
        const float e8 = e1 + e7;
        const float e9 = e8 * c5;
        const float e10 = e6 * 1.0f;
        const float e11 = e9 + e10;
        const float e12 = G * c6;
        const float e13 = e6 * c7;
        const float e14 = e13 * e6;
        const float e15 = e12 + e14;
        const float e16 = e15 + c8;
        const float e17 = SQRT(e16);
        const float e18 = e17 * c9;
        const float e19 = e11 / e18;
        const float e20 = e19 * c10;
        const float e21 = e0 + e20;
        W[i] = e21;
        S0[i] = e8;
        S1[i] = e15;
    }
}

static double adagrad_coefficients(const double *h, double k, double mu, float *c)
{
    const double lr = h[0];
    const double coupled = h[1];
    const double decoupled = h[2];
    const double eps = h[5];
    const double scale = h[6];
    (void)k;
    (void)mu;
    const double n0 = lr * decoupled;
    const double n1 = 1.0 - n0;
    const double n2 = eps * 1.0;
    const double n3 = -lr;
    c[0] = (float)n1;
    c[1] = (float)scale;
    c[2] = (float)coupled;
    c[3] = (float)n2;
    c[4] = (float)n3;
    return mu;
}

static void adagrad_update(const float *restrict c, const struct range *restrict r)
{
    const float c0 = c[0];
    const float c1 = c[1];
    const float c2 = c[2];
    const float c3 = c[3];
    const float c4 = c[4];
    float *restrict W = r->w;
    const float *restrict D = r->g;
    float *restrict S0 = r->state[0];
    for (int64_t i = 0; i < r->n; i++) {
        const float w = W[i], g = D[i];
        const float G = S0[i];
        const float e0 = w * c0;
        const float e1 = g * c1;
        const float e2 = w * c2;
        const float e3 = e1 + e2;
        const float e4 = AT_LEAST(e3, -5.7646073512355405e+17f);
        const float e5 = AT_MOST(e4, 5.7646073512355405e+17f);
        const float e6 = e5 * e5;
        const float e7 = G + e6;
        const float e8 = AT_MOST(e7, 3.4028234663852886e+38f);
        const float e9 = SQRT(e8);
        const float e10 = e9 + c3;
        const float e11 = e5 / e10;
        const float e12 = e11 * c4;
        const float e13 = e0 + e12;
        W[i] = e13;
        S0[i] = e8;
    }
}

static double rmsprop_coefficients(const double *h, double k, double mu, float *c)
{
    const double lr = h[0];
    const double coupled = h[1];
    const double decoupled = h[2];
    const double alpha = h[4];
    const double eps = h[5];
    const double scale = h[6];
    (void)k;
    (void)mu;
    const double n0 = lr * decoupled;
    const double n1 = 1.0 - n0;
    const double n2 = 1.0 - alpha;
    const double n3 = eps * 1.0;
    const double n4 = -lr;
    c[0] = (float)n1;
    c[1] = (float)scale;
    c[2] = (float)coupled;
    c[3] = (float)alpha;
    c[4] = (float)n2;
    c[5] = (float)n3;
    c[6] = (float)n4;
    return mu;
}

static void rmsprop_update(const float *restrict c, const struct range *restrict r)
{
    const float c0 = c[0];
    const float c1 = c[1];
    const float c2 = c[2];
    const float c3 = c[3];
    const float c4 = c[4];
    const float c5 = c[5];
    const float c6 = c[6];
    float *restrict W = r->w;
    const float *restrict D = r->g;
    float *restrict S0 = r->state[0];
    for (int64_t i = 0; i < r->n; i++) {
        const float w = W[i], g = D[i];
        const float G = S0[i];
        const float e0 = w * c0;
        const float e1 = g * c1;
        const float e2 = w * c2;
        const float e3 = e1 + e2;
        const float e4 = AT_LEAST(e3, -5.7646073512355405e+17f);
        const float e5 = AT_MOST(e4, 5.7646073512355405e+17f);
        const float e6 = G * c3;
        const float e7 = e5 * c4;
        const float e8 = e7 * e5;
        const float e9 = e6 + e8;
        const float e10 = SQRT(e9);
        const float e11 = e10 + c5;
        const float e12 = e5 / e11;
        const float e13 = e12 * c6;
        const float e14 = e0 + e13;
        W[i] = e14;
        S0[i] = e9;
    }
}

static double adam_coefficients(const double *h, double k, double mu, float *c)
{
    const double lr = h[0];
    const double coupled = h[1];
    const double decoupled = h[2];
    const double gamma = h[3];
    const double alpha = h[4];
    const double eps = h[5];
    const double scale = h[6];
    (void)mu;
    const double n0 = lr * decoupled;
    const double n1 = 1.0 - n0;
    const double n2 = 1.0 - gamma;
    const double n3 = 1.0 - n2;
    const double n4 = 1.0 - alpha;
    const double n5 = POW(gamma, k);
    const double n6 = 1.0 - n5;
    const double n7 = POW(alpha, k);
    const double n8 = 1.0 - n7;
    const double n9 = SQRT(n8);
    const double n10 = n6 / n9;
    const double n11 = n6 * eps;
    const double n12 = n11 * 1.0;
    const double n13 = -lr;
    c[0] = (float)n1;
    c[1] = (float)n3;
    c[2] = (float)scale;
    c[3] = (float)coupled;
    c[4] = (float)n2;
    c[5] = (float)alpha;
    c[6] = (float)n4;
    c[7] = (float)n10;
    c[8] = (float)n12;
    c[9] = (float)n13;
    return mu;
}

static void adam_update(const float *restrict c, const struct range *restrict r)
{
    const float c0 = c[0];
    const float c1 = c[1];
    const float c2 = c[2];
    const float c3 = c[3];
    const float c4 = c[4];
    const float c5 = c[5];
    const float c6 = c[6];
    const float c7 = c[7];
    const float c8 = c[8];
    const float c9 = c[9];
    float *restrict W = r->w;
    const float *restrict D = r->g;
    float *restrict S0 = r->state[0];
    float *restrict S1 = r->state[1];
    for (int64_t i = 0; i < r->n; i++) {
        const float w = W[i], g = D[i];
        const float v = S0[i];
        const float G = S1[i];
        const float e0 = w * c0;
        const float e1 = v * c1;
        const float e2 = g * c2;
        const float e3 = w * c3;
        const float e4 = e2 + e3;
        const float e5 = AT_LEAST(e4, -5.7646073512355405e+17f);
        const float e6 = AT_MOST(e5, 5.7646073512355405e+17f);
        const float e7 = e6 * c4;
        const float e8 = e1 + e7;
        const float e9 = G * c5;
        const float e10 = e6 * c6;
        const float e11 = e10 * e6;
        const float e12 = e9 + e11;
        const float e13 = SQRT(e12);
        const float e14 = e13 * c7;
        const float e15 = e14 + c8;
        const float e16 = e8 / e15;
        const float e17 = e16 * c9;
        const float e18 = e0 + e17;
        W[i] = e18;
        S0[i] = e8;
        S1[i] = e12;
    }
}

static double nadam_lecture_coefficients(const double *h, double k, double mu, float *c)
{
    const double lr = h[0];
    const double coupled = h[1];
    const double decoupled = h[2];
    const double gamma = h[3];
    const double alpha = h[4];
    const double eps = h[5];
    const double scale = h[6];
    const double n0 = lr * decoupled;
    const double n1 = 1.0 - n0;
    const double n2 = 1.0 - gamma;
    const double n3 = 1.0 - n2;
    const double n4 = POW(gamma, k);
    const double n5 = 1.0 - n4;
    const double n6 = gamma / n5;
    const double n7 = 1.0 - gamma;
    const double n8 = POW(gamma, k);
    const double n9 = 1.0 - n8;
    const double n10 = n7 / n9;
    const double n11 = n6 / n10;
    const double n12 = 1.0 - alpha;
    const double n13 = 1.0 / n10;
    const double n14 = POW(alpha, k);
    const double n15 = 1.0 - n14;
    const double n16 = SQRT(n15);
    const double n17 = n13 / n16;
    const double n18 = n13 * eps;
    const double n19 = n18 * 1.0;
    const double n20 = -lr;
    c[0] = (float)n1;
    c[1] = (float)n3;
    c[2] = (float)scale;
    c[3] = (float)coupled;
    c[4] = (float)n2;
    c[5] = (float)n11;
    c[6] = (float)alpha;
    c[7] = (float)n12;
    c[8] = (float)n17;
    c[9] = (float)n19;
    c[10] = (float)n20;
    return mu;
}

static void nadam_lecture_update(const float *restrict c, const struct range *restrict r)
{
    const float c0 = c[0];
    const float c1 = c[1];
    const float c2 = c[2];
    const float c3 = c[3];
    const float c4 = c[4];
    const float c5 = c[5];
    const float c6 = c[6];
    const float c7 = c[7];
    const float c8 = c[8];
    const float c9 = c[9];
    const float c10 = c[10];
    float *restrict W = r->w;
    const float *restrict D = r->g;
    float *restrict S0 = r->state[0];
    float *restrict S1 = r->state[1];
    for (int64_t i = 0; i < r->n; i++) {
        const float w = W[i], g = D[i];
        const float v = S0[i];
        const float G = S1[i];
        const float e0 = w * c0;
        const float e1 = v * c1;
        const float e2 = g * c2;
        const float e3 = w * c3;
        const float e4 = e2 + e3;
        const float e5 = AT_LEAST(e4, -5.7646073512355405e+17f);
        const float e6 = AT_MOST(e5, 5.7646073512355405e+17f);
        const float e7 = e6 * c4;
        const float e8 = e1 + e7;
        const float e9 = e8 * c5;
        const float e10 = e6 * 1.0f;
        const float e11 = e9 + e10;
        const float e12 = G * c6;
        const float e13 = e6 * c7;
        const float e14 = e13 * e6;
        const float e15 = e12 + e14;
        const float e16 = SQRT(e15);
        const float e17 = e16 * c8;
        const float e18 = e17 + c9;
        const float e19 = e11 / e18;
        const float e20 = e19 * c10;
        const float e21 = e0 + e20;
        W[i] = e21;
        S0[i] = e8;
        S1[i] = e15;
    }
}

static double nadam_dozat_constant_coefficients(const double *h, double k, double mu, float *c)
{
    const double lr = h[0];
    const double coupled = h[1];
    const double decoupled = h[2];
    const double gamma = h[3];
    const double alpha = h[4];
    const double eps = h[5];
    const double scale = h[6];
    const double n0 = lr * decoupled;
    const double n1 = 1.0 - n0;
    const double n2 = 1.0 - gamma;
    const double n3 = 1.0 - n2;
    const double n4 = k + 1.0;
    const double n5 = POW(gamma, n4);
    const double n6 = 1.0 - n5;
    const double n7 = gamma / n6;
    const double n8 = 1.0 - gamma;
    const double n9 = POW(gamma, k);
    const double n10 = 1.0 - n9;
    const double n11 = n8 / n10;
    const double n12 = n7 / n11;
    const double n13 = 1.0 - alpha;
    const double n14 = 1.0 / n11;
    const double n15 = POW(alpha, k);
    const double n16 = 1.0 - n15;
    const double n17 = SQRT(n16);
    const double n18 = n14 / n17;
    const double n19 = n14 * eps;
    const double n20 = n19 * 1.0;
    const double n21 = -lr;
    c[0] = (float)n1;
    c[1] = (float)n3;
    c[2] = (float)scale;
    c[3] = (float)coupled;
    c[4] = (float)n2;
    c[5] = (float)n12;
    c[6] = (float)alpha;
    c[7] = (float)n13;
    c[8] = (float)n18;
    c[9] = (float)n20;
    c[10] = (float)n21;
    return mu;
}

static void nadam_dozat_constant_update(const float *restrict c, const struct range *restrict r)
{
    const float c0 = c[0];
    const float c1 = c[1];
    const float c2 = c[2];
    const float c3 = c[3];
    const float c4 = c[4];
    const float c5 = c[5];
    const float c6 = c[6];
    const float c7 = c[7];
    const float c8 = c[8];
    const float c9 = c[9];
    const float c10 = c[10];
    float *restrict W = r->w;
    const float *restrict D = r->g;
    float *restrict S0 = r->state[0];
    float *restrict S1 = r->state[1];
    for (int64_t i = 0; i < r->n; i++) {
        const float w = W[i], g = D[i];
        const float v = S0[i];
        const float G = S1[i];
        const float e0 = w * c0;
        const float e1 = v * c1;
        const float e2 = g * c2;
        const float e3 = w * c3;
        const float e4 = e2 + e3;
        const float e5 = AT_LEAST(e4, -5.7646073512355405e+17f);
        const float e6 = AT_MOST(e5, 5.7646073512355405e+17f);
        const float e7 = e6 * c4;
        const float e8 = e1 + e7;
        const float e9 = e8 * c5;
        const float e10 = e6 * 1.0f;
        const float e11 = e9 + e10;
        const float e12 = G * c6;
        const float e13 = e6 * c7;
        const float e14 = e13 * e6;
        const float e15 = e12 + e14;
        const float e16 = SQRT(e15);
        const float e17 = e16 * c8;
        const float e18 = e17 + c9;
        const float e19 = e11 / e18;
        const float e20 = e19 * c10;
        const float e21 = e0 + e20;
        W[i] = e21;
        S0[i] = e8;
        S1[i] = e15;
    }
}

static double nadam_dozat_coefficients(const double *h, double k, double mu, float *c)
{
    const double lr = h[0];
    const double coupled = h[1];
    const double decoupled = h[2];
    const double gamma = h[3];
    const double alpha = h[4];
    const double eps = h[5];
    const double scale = h[6];
    const double n0 = lr * decoupled;
    const double n1 = 1.0 - n0;
    const double n2 = 1.0 - gamma;
    const double n3 = 1.0 - n2;
    const double n4 = k + 1.0;
    const double n5 = n4 * 0.004;
    const double n6 = POW(0.96, n5);
    const double n7 = 0.5 * n6;
    const double n8 = 1.0 - n7;
    const double n9 = gamma * n8;
    const double n10 = k * 0.004;
    const double n11 = POW(0.96, n10);
    const double n12 = 0.5 * n11;
    const double n13 = 1.0 - n12;
    const double n14 = gamma * n13;
    const double n15 = mu * n14;
    const double n16 = n15 * n9;
    const double n17 = 1.0 - n16;
    const double n18 = n9 / n17;
    const double n19 = 1.0 - n14;
    const double n20 = 1.0 - n15;
    const double n21 = n19 / n20;
    const double n22 = n18 / n21;
    const double n23 = 1.0 - alpha;
    const double n24 = 1.0 / n21;
    const double n25 = POW(alpha, k);
    const double n26 = 1.0 - n25;
    const double n27 = SQRT(n26);
    const double n28 = n24 / n27;
    const double n29 = n24 * eps;
    const double n30 = n29 * 1.0;
    const double n31 = -lr;
    c[0] = (float)n1;
    c[1] = (float)n3;
    c[2] = (float)scale;
    c[3] = (float)coupled;
    c[4] = (float)n2;
    c[5] = (float)n22;
    c[6] = (float)alpha;
    c[7] = (float)n23;
    c[8] = (float)n28;
    c[9] = (float)n30;
    c[10] = (float)n31;
    return n15;
}

static void nadam_dozat_update(const float *restrict c, const struct range *restrict r)
{
    const float c0 = c[0];
    const float c1 = c[1];
    const float c2 = c[2];
    const float c3 = c[3];
    const float c4 = c[4];
    const float c5 = c[5];
    const float c6 = c[6];
    const float c7 = c[7];
    const float c8 = c[8];
    const float c9 = c[9];
    const float c10 = c[10];
    float *restrict W = r->w;
    const float *restrict D = r->g;
    float *restrict S0 = r->state[0];
    float *restrict S1 = r->state[1];
    for (int64_t i = 0; i < r->n; i++) {
        const float w = W[i], g = D[i];
        const float v = S0[i];
        const float G = S1[i];
        const float e0 = w * c0;
        const float e1 = v * c1;
        const float e2 = g * c2;
        const float e3 = w * c3;
        const float e4 = e2 + e3;
        const float e5 = AT_LEAST(e4, -5.7646073512355405e+17f);
        const float e6 = AT_MOST(e5, 5.7646073512355405e+17f);
        const float e7 = e6 * c4;
        const float e8 = e1 + e7;
        const float e9 = e8 * c5;
        const float e10 = e6 * 1.0f;
        const float e11 = e9 + e10;
        const float e12 = G * c6;
        const float e13 = e6 * c7;
        const float e14 = e13 * e6;
        const float e15 = e12 + e14;
        const float e16 = SQRT(e15);
        const float e17 = e16 * c8;
        const float e18 = e17 + c9;
        const float e19 = e11 / e18;
        const float e20 = e19 * c10;
        const float e21 = e0 + e20;
        W[i] = e21;
        S0[i] = e8;
        S1[i] = e15;
    }
}

static double nadam_keras_coefficients(const double *h, double k, double mu, float *c)
{
    const double lr = h[0];
    const double coupled = h[1];
    const double decoupled = h[2];
    const double gamma = h[3];
    const double alpha = h[4];
    const double eps = h[5];
    const double scale = h[6];
    const double n0 = lr * decoupled;
    const double n1 = 1.0 - n0;
    const double n2 = 1.0 - gamma;
    const double n3 = 1.0 - n2;
    const double n4 = k + 1.0;
    const double n5 = n4 * 1.0;
    const double n6 = POW(0.96, n5);
    const double n7 = 0.5 * n6;
    const double n8 = 1.0 - n7;
    const double n9 = gamma * n8;
    const double n10 = k * 1.0;
    const double n11 = POW(0.96, n10);
    const double n12 = 0.5 * n11;
    const double n13 = 1.0 - n12;
    const double n14 = gamma * n13;
    const double n15 = mu * n14;
    const double n16 = n15 * n9;
    const double n17 = 1.0 - n16;
    const double n18 = n9 / n17;
    const double n19 = 1.0 - n14;
    const double n20 = 1.0 - n15;
    const double n21 = n19 / n20;
    const double n22 = n18 / n21;
    const double n23 = 1.0 - alpha;
    const double n24 = 1.0 / n21;
    const double n25 = POW(alpha, k);
    const double n26 = 1.0 - n25;
    const double n27 = SQRT(n26);
    const double n28 = n24 / n27;
    const double n29 = n24 * eps;
    const double n30 = n29 * 1.0;
    const double n31 = -lr;
    c[0] = (float)n1;
    c[1] = (float)n3;
    c[2] = (float)scale;
    c[3] = (float)coupled;
    c[4] = (float)n2;
    c[5] = (float)n22;
    c[6] = (float)alpha;
    c[7] = (float)n23;
    c[8] = (float)n28;
    c[9] = (float)n30;
    c[10] = (float)n31;
    return n15;
}

static void nadam_keras_update(const float *restrict c, const struct range *restrict r)
{
    const float c0 = c[0];
    const float c1 = c[1];
    const float c2 = c[2];
    const float c3 = c[3];
    const float c4 = c[4];
    const float c5 = c[5];
    const float c6 = c[6];
    const float c7 = c[7];
    const float c8 = c[8];
    const float c9 = c[9];
    const float c10 = c[10];
    float *restrict W = r->w;
    const float *restrict D = r->g;
    float *restrict S0 = r->state[0];
    float *restrict S1 = r->state[1];
    for (int64_t i = 0; i < r->n; i++) {
        const float w = W[i], g = D[i];
        const float v = S0[i];
        const float G = S1[i];
        const float e0 = w * c0;
        const float e1 = v * c1;
        const float e2 = g * c2;
        const float e3 = w * c3;
        const float e4 = e2 + e3;
        const float e5 = AT_LEAST(e4, -5.7646073512355405e+17f);
        const float e6 = AT_MOST(e5, 5.7646073512355405e+17f);
        const float e7 = e6 * c4;
        const float e8 = e1 + e7;
        const float e9 = e8 * c5;
        const float e10 = e6 * 1.0f;
        const float e11 = e9 + e10;
        const float e12 = G * c6;
        const float e13 = e6 * c7;
        const float e14 = e13 * e6;
        const float e15 = e12 + e14;
        const float e16 = SQRT(e15);
        const float e17 = e16 * c8;
        const float e18 = e17 + c9;
        const float e19 = e11 / e18;
        const float e20 = e19 * c10;
        const float e21 = e0 + e20;
        W[i] = e21;
        S0[i] = e8;
        S1[i] = e15;
    }
}

static const struct rule RULES[] = {
    {momentum_coefficients, momentum_update},
    {nesterov_coefficients, nesterov_update},
    {adagrad_eps_in_root_coefficients, adagrad_eps_in_root_update},
    {rmsprop_eps_in_root_coefficients, rmsprop_eps_in_root_update},
    {adam_eps_in_root_coefficients, adam_eps_in_root_update},
    {nadam_lecture_eps_in_root_coefficients, nadam_lecture_eps_in_root_update},
    {nadam_dozat_constant_eps_in_root_coefficients, nadam_dozat_constant_eps_in_root_update},
    {nadam_dozat_eps_in_root_coefficients, nadam_dozat_eps_in_root_update},
    {nadam_keras_eps_in_root_coefficients, nadam_keras_eps_in_root_update},
    {adagrad_coefficients, adagrad_update},
    {rmsprop_coefficients, rmsprop_update},
    {adam_coefficients, adam_update},
    {nadam_lecture_coefficients, nadam_lecture_update},
    {nadam_dozat_constant_coefficients, nadam_dozat_constant_update},
    {nadam_dozat_coefficients, nadam_dozat_update},
    {nadam_keras_coefficients, nadam_keras_update},
};
