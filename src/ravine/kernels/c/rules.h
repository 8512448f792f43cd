/* Written by `make kernels` from the update rules of ravine/optim, not by hand.

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
    const double n4 = SQRT(scale);
    const double n5 = -lr;
    c[0] = (float)n1;
    c[1] = (float)n3;
    c[2] = (float)n4;
    c[3] = (float)coupled;
    c[4] = (float)n2;
    c[5] = (float)n5;
    return mu;
}

static void momentum_update(const float *restrict c, float *restrict W,
    const float *restrict D, float *restrict S0, float *restrict S1, int64_t n)
{
    (void)S1;
    const float c0 = c[0];
    const float c1 = c[1];
    const float c2 = c[2];
    const float c3 = c[3];
    const float c4 = c[4];
    const float c5 = c[5];
    for (int64_t i = 0; i < n; i++) {
        const float w = W[i], g = D[i];
        const float v = S0[i];
        const float e0 = w * c0;
        const float e1 = v * c1;
        const float e2 = g * c2;
        const float e3 = e2 * c2;
        const float e4 = w * c3;
        const float e5 = e3 + e4;
        const float e6 = e5 * c4;
        const float e7 = e1 + e6;
        const float e8 = e7 * c5;
        const float e9 = e0 + e8;
        W[i] = e9;
        S0[i] = e7;
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
    const double n4 = SQRT(scale);
    const double n5 = 1.0 - gamma;
    const double n6 = 1.0 - n5;
    const double n7 = -lr;
    c[0] = (float)n1;
    c[1] = (float)n3;
    c[2] = (float)n4;
    c[3] = (float)coupled;
    c[4] = (float)n2;
    c[5] = (float)n6;
    c[6] = (float)n5;
    c[7] = (float)n7;
    return mu;
}

static void nesterov_update(const float *restrict c, float *restrict W,
    const float *restrict D, float *restrict S0, float *restrict S1, int64_t n)
{
    (void)S1;
    const float c0 = c[0];
    const float c1 = c[1];
    const float c2 = c[2];
    const float c3 = c[3];
    const float c4 = c[4];
    const float c5 = c[5];
    const float c6 = c[6];
    const float c7 = c[7];
    for (int64_t i = 0; i < n; i++) {
        const float w = W[i], g = D[i];
        const float v = S0[i];
        const float e0 = w * c0;
        const float e1 = v * c1;
        const float e2 = g * c2;
        const float e3 = e2 * c2;
        const float e4 = w * c3;
        const float e5 = e3 + e4;
        const float e6 = e5 * c4;
        const float e7 = e1 + e6;
        const float e8 = e7 * c5;
        const float e9 = e5 * c6;
        const float e10 = e8 + e9;
        const float e11 = e10 * c7;
        const float e12 = e0 + e11;
        W[i] = e12;
        S0[i] = e7;
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
    const double n2 = SQRT(scale);
    const double n3 = -lr;
    c[0] = (float)n1;
    c[1] = (float)n2;
    c[2] = (float)coupled;
    c[3] = (float)eps;
    c[4] = (float)n3;
    return mu;
}

static void adagrad_eps_in_root_update(const float *restrict c, float *restrict W,
    const float *restrict D, float *restrict S0, float *restrict S1, int64_t n)
{
    (void)S1;
    const float c0 = c[0];
    const float c1 = c[1];
    const float c2 = c[2];
    const float c3 = c[3];
    const float c4 = c[4];
    for (int64_t i = 0; i < n; i++) {
        const float w = W[i], g = D[i];
        const float G = S0[i];
        const float e0 = w * c0;
        const float e1 = g * c1;
        const float e2 = e1 * c1;
        const float e3 = w * c2;
        const float e4 = e2 + e3;
        const float e5 = AT_LEAST(e4, -5.7646073512355405e+17f);
        const float e6 = AT_MOST(e5, 5.7646073512355405e+17f);
        const float e7 = e6 * e6;
        const float e8 = G + e7;
        const float e9 = AT_MOST(e8, 3.4028234663852886e+38f);
        const float e10 = e9 + c3;
        const float e11 = SQRT(e10);
        const float e12 = e6 / e11;
        const float e13 = e12 * c4;
        const float e14 = e0 + e13;
        W[i] = e14;
        S0[i] = e9;
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
    const double n2 = SQRT(scale);
    const double n3 = 1.0 - alpha;
    const double n4 = -lr;
    c[0] = (float)n1;
    c[1] = (float)n2;
    c[2] = (float)coupled;
    c[3] = (float)alpha;
    c[4] = (float)n3;
    c[5] = (float)eps;
    c[6] = (float)n4;
    return mu;
}

static void rmsprop_eps_in_root_update(const float *restrict c, float *restrict W,
    const float *restrict D, float *restrict S0, float *restrict S1, int64_t n)
{
    (void)S1;
    const float c0 = c[0];
    const float c1 = c[1];
    const float c2 = c[2];
    const float c3 = c[3];
    const float c4 = c[4];
    const float c5 = c[5];
    const float c6 = c[6];
    for (int64_t i = 0; i < n; i++) {
        const float w = W[i], g = D[i];
        const float G = S0[i];
        const float e0 = w * c0;
        const float e1 = g * c1;
        const float e2 = e1 * c1;
        const float e3 = w * c2;
        const float e4 = e2 + e3;
        const float e5 = AT_LEAST(e4, -5.7646073512355405e+17f);
        const float e6 = AT_MOST(e5, 5.7646073512355405e+17f);
        const float e7 = G * c3;
        const float e8 = e6 * c4;
        const float e9 = e8 * e6;
        const float e10 = e7 + e9;
        const float e11 = e10 + c5;
        const float e12 = SQRT(e11);
        const float e13 = e6 / e12;
        const float e14 = e13 * c6;
        const float e15 = e0 + e14;
        W[i] = e15;
        S0[i] = e10;
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
    const double n4 = SQRT(scale);
    const double n5 = 1.0 - alpha;
    const double n6 = POW(alpha, k);
    const double n7 = 1.0 - n6;
    const double n8 = eps * n7;
    const double n9 = POW(gamma, k);
    const double n10 = 1.0 - n9;
    const double n11 = SQRT(n7);
    const double n12 = n10 / n11;
    const double n13 = -lr;
    c[0] = (float)n1;
    c[1] = (float)n3;
    c[2] = (float)n4;
    c[3] = (float)coupled;
    c[4] = (float)n2;
    c[5] = (float)alpha;
    c[6] = (float)n5;
    c[7] = (float)n8;
    c[8] = (float)n12;
    c[9] = (float)n13;
    return mu;
}

static void adam_eps_in_root_update(const float *restrict c, float *restrict W,
    const float *restrict D, float *restrict S0, float *restrict S1, int64_t n)
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
    for (int64_t i = 0; i < n; i++) {
        const float w = W[i], g = D[i];
        const float v = S0[i];
        const float G = S1[i];
        const float e0 = w * c0;
        const float e1 = v * c1;
        const float e2 = g * c2;
        const float e3 = e2 * c2;
        const float e4 = w * c3;
        const float e5 = e3 + e4;
        const float e6 = AT_LEAST(e5, -5.7646073512355405e+17f);
        const float e7 = AT_MOST(e6, 5.7646073512355405e+17f);
        const float e8 = e7 * c4;
        const float e9 = e1 + e8;
        const float e10 = G * c5;
        const float e11 = e7 * c6;
        const float e12 = e11 * e7;
        const float e13 = e10 + e12;
        const float e14 = e13 + c7;
        const float e15 = SQRT(e14);
        const float e16 = e15 * c8;
        const float e17 = e9 / e16;
        const float e18 = e17 * c9;
        const float e19 = e0 + e18;
        W[i] = e19;
        S0[i] = e9;
        S1[i] = e13;
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
    const double n4 = SQRT(scale);
    const double n5 = POW(gamma, k);
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
    c[2] = (float)n4;
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

static void nadam_lecture_eps_in_root_update(const float *restrict c, float *restrict W,
    const float *restrict D, float *restrict S0, float *restrict S1, int64_t n)
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
    for (int64_t i = 0; i < n; i++) {
        const float w = W[i], g = D[i];
        const float v = S0[i];
        const float G = S1[i];
        const float e0 = w * c0;
        const float e1 = v * c1;
        const float e2 = g * c2;
        const float e3 = e2 * c2;
        const float e4 = w * c3;
        const float e5 = e3 + e4;
        const float e6 = AT_LEAST(e5, -5.7646073512355405e+17f);
        const float e7 = AT_MOST(e6, 5.7646073512355405e+17f);
        const float e8 = e7 * c4;
        const float e9 = e1 + e8;
        const float e10 = e9 * c5;
        const float e11 = e7 * 1.0f;
        const float e12 = e10 + e11;
        const float e13 = G * c6;
        const float e14 = e7 * c7;
        const float e15 = e14 * e7;
        const float e16 = e13 + e15;
        const float e17 = e16 + c8;
        const float e18 = SQRT(e17);
        const float e19 = e18 * c9;
        const float e20 = e12 / e19;
        const float e21 = e20 * c10;
        const float e22 = e0 + e21;
        W[i] = e22;
        S0[i] = e9;
        S1[i] = e16;
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
    const double n4 = SQRT(scale);
    const double n5 = k + 1.0;
    const double n6 = POW(gamma, n5);
    const double n7 = 1.0 - n6;
    const double n8 = gamma / n7;
    const double n9 = 1.0 - gamma;
    const double n10 = POW(gamma, k);
    const double n11 = 1.0 - n10;
    const double n12 = n9 / n11;
    const double n13 = n8 / n12;
    const double n14 = 1.0 - alpha;
    const double n15 = POW(alpha, k);
    const double n16 = 1.0 - n15;
    const double n17 = eps * n16;
    const double n18 = 1.0 / n12;
    const double n19 = SQRT(n16);
    const double n20 = n18 / n19;
    const double n21 = -lr;
    c[0] = (float)n1;
    c[1] = (float)n3;
    c[2] = (float)n4;
    c[3] = (float)coupled;
    c[4] = (float)n2;
    c[5] = (float)n13;
    c[6] = (float)alpha;
    c[7] = (float)n14;
    c[8] = (float)n17;
    c[9] = (float)n20;
    c[10] = (float)n21;
    return mu;
}

static void nadam_dozat_constant_eps_in_root_update(const float *restrict c, float *restrict W,
    const float *restrict D, float *restrict S0, float *restrict S1, int64_t n)
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
    for (int64_t i = 0; i < n; i++) {
        const float w = W[i], g = D[i];
        const float v = S0[i];
        const float G = S1[i];
        const float e0 = w * c0;
        const float e1 = v * c1;
        const float e2 = g * c2;
        const float e3 = e2 * c2;
        const float e4 = w * c3;
        const float e5 = e3 + e4;
        const float e6 = AT_LEAST(e5, -5.7646073512355405e+17f);
        const float e7 = AT_MOST(e6, 5.7646073512355405e+17f);
        const float e8 = e7 * c4;
        const float e9 = e1 + e8;
        const float e10 = e9 * c5;
        const float e11 = e7 * 1.0f;
        const float e12 = e10 + e11;
        const float e13 = G * c6;
        const float e14 = e7 * c7;
        const float e15 = e14 * e7;
        const float e16 = e13 + e15;
        const float e17 = e16 + c8;
        const float e18 = SQRT(e17);
        const float e19 = e18 * c9;
        const float e20 = e12 / e19;
        const float e21 = e20 * c10;
        const float e22 = e0 + e21;
        W[i] = e22;
        S0[i] = e9;
        S1[i] = e16;
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
    const double n4 = SQRT(scale);
    const double n5 = k + 1.0;
    const double n6 = n5 * 0.004;
    const double n7 = POW(0.96, n6);
    const double n8 = 0.5 * n7;
    const double n9 = 1.0 - n8;
    const double n10 = gamma * n9;
    const double n11 = k * 0.004;
    const double n12 = POW(0.96, n11);
    const double n13 = 0.5 * n12;
    const double n14 = 1.0 - n13;
    const double n15 = gamma * n14;
    const double n16 = mu * n15;
    const double n17 = n16 * n10;
    const double n18 = 1.0 - n17;
    const double n19 = n10 / n18;
    const double n20 = 1.0 - n15;
    const double n21 = 1.0 - n16;
    const double n22 = n20 / n21;
    const double n23 = n19 / n22;
    const double n24 = 1.0 - alpha;
    const double n25 = POW(alpha, k);
    const double n26 = 1.0 - n25;
    const double n27 = eps * n26;
    const double n28 = 1.0 / n22;
    const double n29 = SQRT(n26);
    const double n30 = n28 / n29;
    const double n31 = -lr;
    c[0] = (float)n1;
    c[1] = (float)n3;
    c[2] = (float)n4;
    c[3] = (float)coupled;
    c[4] = (float)n2;
    c[5] = (float)n23;
    c[6] = (float)alpha;
    c[7] = (float)n24;
    c[8] = (float)n27;
    c[9] = (float)n30;
    c[10] = (float)n31;
    return n16;
}

static void nadam_dozat_eps_in_root_update(const float *restrict c, float *restrict W,
    const float *restrict D, float *restrict S0, float *restrict S1, int64_t n)
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
    for (int64_t i = 0; i < n; i++) {
        const float w = W[i], g = D[i];
        const float v = S0[i];
        const float G = S1[i];
        const float e0 = w * c0;
        const float e1 = v * c1;
        const float e2 = g * c2;
        const float e3 = e2 * c2;
        const float e4 = w * c3;
        const float e5 = e3 + e4;
        const float e6 = AT_LEAST(e5, -5.7646073512355405e+17f);
        const float e7 = AT_MOST(e6, 5.7646073512355405e+17f);
        const float e8 = e7 * c4;
        const float e9 = e1 + e8;
        const float e10 = e9 * c5;
        const float e11 = e7 * 1.0f;
        const float e12 = e10 + e11;
        const float e13 = G * c6;
        const float e14 = e7 * c7;
        const float e15 = e14 * e7;
        const float e16 = e13 + e15;
        const float e17 = e16 + c8;
        const float e18 = SQRT(e17);
        const float e19 = e18 * c9;
        const float e20 = e12 / e19;
        const float e21 = e20 * c10;
        const float e22 = e0 + e21;
        W[i] = e22;
        S0[i] = e9;
        S1[i] = e16;
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
    const double n4 = SQRT(scale);
    const double n5 = k + 1.0;
    const double n6 = n5 * 1.0;
    const double n7 = POW(0.96, n6);
    const double n8 = 0.5 * n7;
    const double n9 = 1.0 - n8;
    const double n10 = gamma * n9;
    const double n11 = k * 1.0;
    const double n12 = POW(0.96, n11);
    const double n13 = 0.5 * n12;
    const double n14 = 1.0 - n13;
    const double n15 = gamma * n14;
    const double n16 = mu * n15;
    const double n17 = n16 * n10;
    const double n18 = 1.0 - n17;
    const double n19 = n10 / n18;
    const double n20 = 1.0 - n15;
    const double n21 = 1.0 - n16;
    const double n22 = n20 / n21;
    const double n23 = n19 / n22;
    const double n24 = 1.0 - alpha;
    const double n25 = POW(alpha, k);
    const double n26 = 1.0 - n25;
    const double n27 = eps * n26;
    const double n28 = 1.0 / n22;
    const double n29 = SQRT(n26);
    const double n30 = n28 / n29;
    const double n31 = -lr;
    c[0] = (float)n1;
    c[1] = (float)n3;
    c[2] = (float)n4;
    c[3] = (float)coupled;
    c[4] = (float)n2;
    c[5] = (float)n23;
    c[6] = (float)alpha;
    c[7] = (float)n24;
    c[8] = (float)n27;
    c[9] = (float)n30;
    c[10] = (float)n31;
    return n16;
}

static void nadam_keras_eps_in_root_update(const float *restrict c, float *restrict W,
    const float *restrict D, float *restrict S0, float *restrict S1, int64_t n)
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
    for (int64_t i = 0; i < n; i++) {
        const float w = W[i], g = D[i];
        const float v = S0[i];
        const float G = S1[i];
        const float e0 = w * c0;
        const float e1 = v * c1;
        const float e2 = g * c2;
        const float e3 = e2 * c2;
        const float e4 = w * c3;
        const float e5 = e3 + e4;
        const float e6 = AT_LEAST(e5, -5.7646073512355405e+17f);
        const float e7 = AT_MOST(e6, 5.7646073512355405e+17f);
        const float e8 = e7 * c4;
        const float e9 = e1 + e8;
        const float e10 = e9 * c5;
        const float e11 = e7 * 1.0f;
        const float e12 = e10 + e11;
        const float e13 = G * c6;
        const float e14 = e7 * c7;
        const float e15 = e14 * e7;
        const float e16 = e13 + e15;
        const float e17 = e16 + c8;
        const float e18 = SQRT(e17);
        const float e19 = e18 * c9;
        const float e20 = e12 / e19;
        const float e21 = e20 * c10;
        const float e22 = e0 + e21;
        W[i] = e22;
        S0[i] = e9;
        S1[i] = e16;
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
    const double n2 = SQRT(scale);
    const double n3 = eps * 1.0;
    const double n4 = -lr;
    c[0] = (float)n1;
    c[1] = (float)n2;
    c[2] = (float)coupled;
    c[3] = (float)n3;
    c[4] = (float)n4;
    return mu;
}

static void adagrad_update(const float *restrict c, float *restrict W,
    const float *restrict D, float *restrict S0, float *restrict S1, int64_t n)
{
    (void)S1;
    const float c0 = c[0];
    const float c1 = c[1];
    const float c2 = c[2];
    const float c3 = c[3];
    const float c4 = c[4];
    for (int64_t i = 0; i < n; i++) {
        const float w = W[i], g = D[i];
        const float G = S0[i];
        const float e0 = w * c0;
        const float e1 = g * c1;
        const float e2 = e1 * c1;
        const float e3 = w * c2;
        const float e4 = e2 + e3;
        const float e5 = AT_LEAST(e4, -5.7646073512355405e+17f);
        const float e6 = AT_MOST(e5, 5.7646073512355405e+17f);
        const float e7 = e6 * e6;
        const float e8 = G + e7;
        const float e9 = AT_MOST(e8, 3.4028234663852886e+38f);
        const float e10 = SQRT(e9);
        const float e11 = e10 + c3;
        const float e12 = e6 / e11;
        const float e13 = e12 * c4;
        const float e14 = e0 + e13;
        W[i] = e14;
        S0[i] = e9;
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
    const double n2 = SQRT(scale);
    const double n3 = 1.0 - alpha;
    const double n4 = eps * 1.0;
    const double n5 = -lr;
    c[0] = (float)n1;
    c[1] = (float)n2;
    c[2] = (float)coupled;
    c[3] = (float)alpha;
    c[4] = (float)n3;
    c[5] = (float)n4;
    c[6] = (float)n5;
    return mu;
}

static void rmsprop_update(const float *restrict c, float *restrict W,
    const float *restrict D, float *restrict S0, float *restrict S1, int64_t n)
{
    (void)S1;
    const float c0 = c[0];
    const float c1 = c[1];
    const float c2 = c[2];
    const float c3 = c[3];
    const float c4 = c[4];
    const float c5 = c[5];
    const float c6 = c[6];
    for (int64_t i = 0; i < n; i++) {
        const float w = W[i], g = D[i];
        const float G = S0[i];
        const float e0 = w * c0;
        const float e1 = g * c1;
        const float e2 = e1 * c1;
        const float e3 = w * c2;
        const float e4 = e2 + e3;
        const float e5 = AT_LEAST(e4, -5.7646073512355405e+17f);
        const float e6 = AT_MOST(e5, 5.7646073512355405e+17f);
        const float e7 = G * c3;
        const float e8 = e6 * c4;
        const float e9 = e8 * e6;
        const float e10 = e7 + e9;
        const float e11 = SQRT(e10);
        const float e12 = e11 + c5;
        const float e13 = e6 / e12;
        const float e14 = e13 * c6;
        const float e15 = e0 + e14;
        W[i] = e15;
        S0[i] = e10;
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
    const double n4 = SQRT(scale);
    const double n5 = 1.0 - alpha;
    const double n6 = POW(gamma, k);
    const double n7 = 1.0 - n6;
    const double n8 = POW(alpha, k);
    const double n9 = 1.0 - n8;
    const double n10 = SQRT(n9);
    const double n11 = n7 / n10;
    const double n12 = n7 * eps;
    const double n13 = n12 * 1.0;
    const double n14 = -lr;
    c[0] = (float)n1;
    c[1] = (float)n3;
    c[2] = (float)n4;
    c[3] = (float)coupled;
    c[4] = (float)n2;
    c[5] = (float)alpha;
    c[6] = (float)n5;
    c[7] = (float)n11;
    c[8] = (float)n13;
    c[9] = (float)n14;
    return mu;
}

static void adam_update(const float *restrict c, float *restrict W,
    const float *restrict D, float *restrict S0, float *restrict S1, int64_t n)
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
    for (int64_t i = 0; i < n; i++) {
        const float w = W[i], g = D[i];
        const float v = S0[i];
        const float G = S1[i];
        const float e0 = w * c0;
        const float e1 = v * c1;
        const float e2 = g * c2;
        const float e3 = e2 * c2;
        const float e4 = w * c3;
        const float e5 = e3 + e4;
        const float e6 = AT_LEAST(e5, -5.7646073512355405e+17f);
        const float e7 = AT_MOST(e6, 5.7646073512355405e+17f);
        const float e8 = e7 * c4;
        const float e9 = e1 + e8;
        const float e10 = G * c5;
        const float e11 = e7 * c6;
        const float e12 = e11 * e7;
        const float e13 = e10 + e12;
        const float e14 = SQRT(e13);
        const float e15 = e14 * c7;
        const float e16 = e15 + c8;
        const float e17 = e9 / e16;
        const float e18 = e17 * c9;
        const float e19 = e0 + e18;
        W[i] = e19;
        S0[i] = e9;
        S1[i] = e13;
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
    const double n4 = SQRT(scale);
    const double n5 = POW(gamma, k);
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
    c[2] = (float)n4;
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

static void nadam_lecture_update(const float *restrict c, float *restrict W,
    const float *restrict D, float *restrict S0, float *restrict S1, int64_t n)
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
    for (int64_t i = 0; i < n; i++) {
        const float w = W[i], g = D[i];
        const float v = S0[i];
        const float G = S1[i];
        const float e0 = w * c0;
        const float e1 = v * c1;
        const float e2 = g * c2;
        const float e3 = e2 * c2;
        const float e4 = w * c3;
        const float e5 = e3 + e4;
        const float e6 = AT_LEAST(e5, -5.7646073512355405e+17f);
        const float e7 = AT_MOST(e6, 5.7646073512355405e+17f);
        const float e8 = e7 * c4;
        const float e9 = e1 + e8;
        const float e10 = e9 * c5;
        const float e11 = e7 * 1.0f;
        const float e12 = e10 + e11;
        const float e13 = G * c6;
        const float e14 = e7 * c7;
        const float e15 = e14 * e7;
        const float e16 = e13 + e15;
        const float e17 = SQRT(e16);
        const float e18 = e17 * c8;
        const float e19 = e18 + c9;
        const float e20 = e12 / e19;
        const float e21 = e20 * c10;
        const float e22 = e0 + e21;
        W[i] = e22;
        S0[i] = e9;
        S1[i] = e16;
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
    const double n4 = SQRT(scale);
    const double n5 = k + 1.0;
    const double n6 = POW(gamma, n5);
    const double n7 = 1.0 - n6;
    const double n8 = gamma / n7;
    const double n9 = 1.0 - gamma;
    const double n10 = POW(gamma, k);
    const double n11 = 1.0 - n10;
    const double n12 = n9 / n11;
    const double n13 = n8 / n12;
    const double n14 = 1.0 - alpha;
    const double n15 = 1.0 / n12;
    const double n16 = POW(alpha, k);
    const double n17 = 1.0 - n16;
    const double n18 = SQRT(n17);
    const double n19 = n15 / n18;
    const double n20 = n15 * eps;
    const double n21 = n20 * 1.0;
    const double n22 = -lr;
    c[0] = (float)n1;
    c[1] = (float)n3;
    c[2] = (float)n4;
    c[3] = (float)coupled;
    c[4] = (float)n2;
    c[5] = (float)n13;
    c[6] = (float)alpha;
    c[7] = (float)n14;
    c[8] = (float)n19;
    c[9] = (float)n21;
    c[10] = (float)n22;
    return mu;
}

static void nadam_dozat_constant_update(const float *restrict c, float *restrict W,
    const float *restrict D, float *restrict S0, float *restrict S1, int64_t n)
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
    for (int64_t i = 0; i < n; i++) {
        const float w = W[i], g = D[i];
        const float v = S0[i];
        const float G = S1[i];
        const float e0 = w * c0;
        const float e1 = v * c1;
        const float e2 = g * c2;
        const float e3 = e2 * c2;
        const float e4 = w * c3;
        const float e5 = e3 + e4;
        const float e6 = AT_LEAST(e5, -5.7646073512355405e+17f);
        const float e7 = AT_MOST(e6, 5.7646073512355405e+17f);
        const float e8 = e7 * c4;
        const float e9 = e1 + e8;
        const float e10 = e9 * c5;
        const float e11 = e7 * 1.0f;
        const float e12 = e10 + e11;
        const float e13 = G * c6;
        const float e14 = e7 * c7;
        const float e15 = e14 * e7;
        const float e16 = e13 + e15;
        const float e17 = SQRT(e16);
        const float e18 = e17 * c8;
        const float e19 = e18 + c9;
        const float e20 = e12 / e19;
        const float e21 = e20 * c10;
        const float e22 = e0 + e21;
        W[i] = e22;
        S0[i] = e9;
        S1[i] = e16;
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
    const double n4 = SQRT(scale);
    const double n5 = k + 1.0;
    const double n6 = n5 * 0.004;
    const double n7 = POW(0.96, n6);
    const double n8 = 0.5 * n7;
    const double n9 = 1.0 - n8;
    const double n10 = gamma * n9;
    const double n11 = k * 0.004;
    const double n12 = POW(0.96, n11);
    const double n13 = 0.5 * n12;
    const double n14 = 1.0 - n13;
    const double n15 = gamma * n14;
    const double n16 = mu * n15;
    const double n17 = n16 * n10;
    const double n18 = 1.0 - n17;
    const double n19 = n10 / n18;
    const double n20 = 1.0 - n15;
    const double n21 = 1.0 - n16;
    const double n22 = n20 / n21;
    const double n23 = n19 / n22;
    const double n24 = 1.0 - alpha;
    const double n25 = 1.0 / n22;
    const double n26 = POW(alpha, k);
    const double n27 = 1.0 - n26;
    const double n28 = SQRT(n27);
    const double n29 = n25 / n28;
    const double n30 = n25 * eps;
    const double n31 = n30 * 1.0;
    const double n32 = -lr;
    c[0] = (float)n1;
    c[1] = (float)n3;
    c[2] = (float)n4;
    c[3] = (float)coupled;
    c[4] = (float)n2;
    c[5] = (float)n23;
    c[6] = (float)alpha;
    c[7] = (float)n24;
    c[8] = (float)n29;
    c[9] = (float)n31;
    c[10] = (float)n32;
    return n16;
}

static void nadam_dozat_update(const float *restrict c, float *restrict W,
    const float *restrict D, float *restrict S0, float *restrict S1, int64_t n)
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
    for (int64_t i = 0; i < n; i++) {
        const float w = W[i], g = D[i];
        const float v = S0[i];
        const float G = S1[i];
        const float e0 = w * c0;
        const float e1 = v * c1;
        const float e2 = g * c2;
        const float e3 = e2 * c2;
        const float e4 = w * c3;
        const float e5 = e3 + e4;
        const float e6 = AT_LEAST(e5, -5.7646073512355405e+17f);
        const float e7 = AT_MOST(e6, 5.7646073512355405e+17f);
        const float e8 = e7 * c4;
        const float e9 = e1 + e8;
        const float e10 = e9 * c5;
        const float e11 = e7 * 1.0f;
        const float e12 = e10 + e11;
        const float e13 = G * c6;
        const float e14 = e7 * c7;
        const float e15 = e14 * e7;
        const float e16 = e13 + e15;
        const float e17 = SQRT(e16);
        const float e18 = e17 * c8;
        const float e19 = e18 + c9;
        const float e20 = e12 / e19;
        const float e21 = e20 * c10;
        const float e22 = e0 + e21;
        W[i] = e22;
        S0[i] = e9;
        S1[i] = e16;
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
    const double n4 = SQRT(scale);
    const double n5 = k + 1.0;
    const double n6 = n5 * 1.0;
    const double n7 = POW(0.96, n6);
    const double n8 = 0.5 * n7;
    const double n9 = 1.0 - n8;
    const double n10 = gamma * n9;
    const double n11 = k * 1.0;
    const double n12 = POW(0.96, n11);
    const double n13 = 0.5 * n12;
    const double n14 = 1.0 - n13;
    const double n15 = gamma * n14;
    const double n16 = mu * n15;
    const double n17 = n16 * n10;
    const double n18 = 1.0 - n17;
    const double n19 = n10 / n18;
    const double n20 = 1.0 - n15;
    const double n21 = 1.0 - n16;
    const double n22 = n20 / n21;
    const double n23 = n19 / n22;
    const double n24 = 1.0 - alpha;
    const double n25 = 1.0 / n22;
    const double n26 = POW(alpha, k);
    const double n27 = 1.0 - n26;
    const double n28 = SQRT(n27);
    const double n29 = n25 / n28;
    const double n30 = n25 * eps;
    const double n31 = n30 * 1.0;
    const double n32 = -lr;
    c[0] = (float)n1;
    c[1] = (float)n3;
    c[2] = (float)n4;
    c[3] = (float)coupled;
    c[4] = (float)n2;
    c[5] = (float)n23;
    c[6] = (float)alpha;
    c[7] = (float)n24;
    c[8] = (float)n29;
    c[9] = (float)n31;
    c[10] = (float)n32;
    return n16;
}

static void nadam_keras_update(const float *restrict c, float *restrict W,
    const float *restrict D, float *restrict S0, float *restrict S1, int64_t n)
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
    for (int64_t i = 0; i < n; i++) {
        const float w = W[i], g = D[i];
        const float v = S0[i];
        const float G = S1[i];
        const float e0 = w * c0;
        const float e1 = v * c1;
        const float e2 = g * c2;
        const float e3 = e2 * c2;
        const float e4 = w * c3;
        const float e5 = e3 + e4;
        const float e6 = AT_LEAST(e5, -5.7646073512355405e+17f);
        const float e7 = AT_MOST(e6, 5.7646073512355405e+17f);
        const float e8 = e7 * c4;
        const float e9 = e1 + e8;
        const float e10 = e9 * c5;
        const float e11 = e7 * 1.0f;
        const float e12 = e10 + e11;
        const float e13 = G * c6;
        const float e14 = e7 * c7;
        const float e15 = e14 * e7;
        const float e16 = e13 + e15;
        const float e17 = SQRT(e16);
        const float e18 = e17 * c8;
        const float e19 = e18 + c9;
        const float e20 = e12 / e19;
        const float e21 = e20 * c10;
        const float e22 = e0 + e21;
        W[i] = e22;
        S0[i] = e9;
        S1[i] = e16;
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
