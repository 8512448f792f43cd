"""Written by scripts/make_kernels.py from ravine/optim/rules.py: `make kernels`, not by hand.

Each takes float64 numbers and float32 blocks, and returns the new weights, the new state and
the new product of the momenta.
"""

import triton
import triton.language as tl


@triton.jit
def POW(base, exponent):
    """A number to the power of a number, float64."""
    return tl.exp2(exponent * tl.log2(base))


@triton.jit
def SQRT(x):
    """The square root."""
    return tl.sqrt(x)


@triton.jit
def AT_LEAST(x, limit):
    """The larger of two; NaN stays NaN."""
    return tl.where(x < limit, limit, x)


@triton.jit
def AT_MOST(x, limit):
    """The smaller of two; NaN stays NaN."""
    return tl.where(x > limit, limit, x)


@triton.jit
def momentum(lr, coupled, decoupled, gamma, alpha, eps, scale, k, mu, w, g, v):
    """The rule `momentum`."""
    n0 = lr * decoupled
    n1 = 1.0 - n0
    n2 = 1.0 - gamma
    n3 = 1.0 - n2
    n4 = -lr
    c0 = n1.to(tl.float32)
    c1 = n3.to(tl.float32)
    c2 = scale.to(tl.float32)
    c3 = coupled.to(tl.float32)
    c4 = n2.to(tl.float32)
    c5 = n4.to(tl.float32)
    e0 = w * c0
    e1 = v * c1
    e2 = g * c2
    e3 = w * c3
    e4 = e2 + e3
    e5 = e4 * c4
    e6 = e1 + e5
    e7 = e6 * c5
    e8 = e0 + e7
    return e8, e6, mu


@triton.jit
def nesterov(lr, coupled, decoupled, gamma, alpha, eps, scale, k, mu, w, g, v):
    """The rule `nesterov`."""
    n0 = lr * decoupled
    n1 = 1.0 - n0
    n2 = 1.0 - gamma
    n3 = 1.0 - n2
    n4 = 1.0 - gamma
    n5 = 1.0 - n4
    n6 = -lr
    c0 = n1.to(tl.float32)
    c1 = n3.to(tl.float32)
    c2 = scale.to(tl.float32)
    c3 = coupled.to(tl.float32)
    c4 = n2.to(tl.float32)
    c5 = n5.to(tl.float32)
    c6 = n4.to(tl.float32)
    c7 = n6.to(tl.float32)
    e0 = w * c0
    e1 = v * c1
    e2 = g * c2
    e3 = w * c3
    e4 = e2 + e3
    e5 = e4 * c4
    e6 = e1 + e5
    e7 = e6 * c5
    e8 = e4 * c6
    e9 = e7 + e8
    e10 = e9 * c7
    e11 = e0 + e10
    return e11, e6, mu


@triton.jit
def adagrad_eps_in_root(lr, coupled, decoupled, gamma, alpha, eps, scale, k, mu, w, g, G):
    """The rule `adagrad_eps_in_root`."""
    n0 = lr * decoupled
    n1 = 1.0 - n0
    n2 = -lr
    c0 = n1.to(tl.float32)
    c1 = scale.to(tl.float32)
    c2 = coupled.to(tl.float32)
    c3 = eps.to(tl.float32)
    c4 = n2.to(tl.float32)
    e0 = w * c0
    e1 = g * c1
    e2 = w * c2
    e3 = e1 + e2
    e4 = AT_LEAST(e3, -5.7646073512355405e+17)
    e5 = AT_MOST(e4, 5.7646073512355405e+17)
    e6 = e5 * e5
    e7 = G + e6
    e8 = AT_MOST(e7, 3.4028234663852886e+38)
    e9 = e8 + c3
    e10 = SQRT(e9)
    e11 = e5 / e10
    e12 = e11 * c4
    e13 = e0 + e12
    return e13, e8, mu


@triton.jit
def rmsprop_eps_in_root(lr, coupled, decoupled, gamma, alpha, eps, scale, k, mu, w, g, G):
    """The rule `rmsprop_eps_in_root`."""
    n0 = lr * decoupled
    n1 = 1.0 - n0
    n2 = 1.0 - alpha
    n3 = -lr
    c0 = n1.to(tl.float32)
    c1 = scale.to(tl.float32)
    c2 = coupled.to(tl.float32)
    c3 = alpha.to(tl.float32)
    c4 = n2.to(tl.float32)
    c5 = eps.to(tl.float32)
    c6 = n3.to(tl.float32)
    e0 = w * c0
    e1 = g * c1
    e2 = w * c2
    e3 = e1 + e2
    e4 = AT_LEAST(e3, -5.7646073512355405e+17)
    e5 = AT_MOST(e4, 5.7646073512355405e+17)
    e6 = G * c3
    e7 = e5 * c4
    e8 = e7 * e5
    e9 = e6 + e8
    e10 = e9 + c5
    e11 = SQRT(e10)
    e12 = e5 / e11
    e13 = e12 * c6
    e14 = e0 + e13
    return e14, e9, mu


@triton.jit
def adam_eps_in_root(lr, coupled, decoupled, gamma, alpha, eps, scale, k, mu, w, g, v, G):
    """The rule `adam_eps_in_root`."""
    n0 = lr * decoupled
    n1 = 1.0 - n0
    n2 = 1.0 - gamma
    n3 = 1.0 - n2
    n4 = 1.0 - alpha
    n5 = POW(alpha, k)
    n6 = 1.0 - n5
    n7 = eps * n6
    n8 = POW(gamma, k)
    n9 = 1.0 - n8
    n10 = SQRT(n6)
    n11 = n9 / n10
    n12 = -lr
    c0 = n1.to(tl.float32)
    c1 = n3.to(tl.float32)
    c2 = scale.to(tl.float32)
    c3 = coupled.to(tl.float32)
    c4 = n2.to(tl.float32)
    c5 = alpha.to(tl.float32)
    c6 = n4.to(tl.float32)
    c7 = n7.to(tl.float32)
    c8 = n11.to(tl.float32)
    c9 = n12.to(tl.float32)
    e0 = w * c0
    e1 = v * c1
    e2 = g * c2
    e3 = w * c3
    e4 = e2 + e3
    e5 = AT_LEAST(e4, -5.7646073512355405e+17)
    e6 = AT_MOST(e5, 5.7646073512355405e+17)
    e7 = e6 * c4
    e8 = e1 + e7
    e9 = G * c5
    e10 = e6 * c6
    e11 = e10 * e6
    e12 = e9 + e11
    e13 = e12 + c7
    e14 = SQRT(e13)
    e15 = e14 * c8
    e16 = e8 / e15
    e17 = e16 * c9
    e18 = e0 + e17
    return e18, e8, e12, mu


@triton.jit
def nadam_lecture_eps_in_root(lr, coupled, decoupled, gamma, alpha, eps, scale, k, mu, w, g, v, G):
    """The rule `nadam_lecture_eps_in_root`."""
    n0 = lr * decoupled
    n1 = 1.0 - n0
    n2 = 1.0 - gamma
    n3 = 1.0 - n2
    n4 = POW(gamma, k)
    n5 = 1.0 - n4
    n6 = gamma / n5
    n7 = 1.0 - gamma
    n8 = POW(gamma, k)
    n9 = 1.0 - n8
    n10 = n7 / n9
    n11 = n6 / n10
    n12 = 1.0 - alpha
    n13 = POW(alpha, k)
    n14 = 1.0 - n13
    n15 = eps * n14
    n16 = 1.0 / n10
    n17 = SQRT(n14)
    n18 = n16 / n17
    n19 = -lr
    c0 = n1.to(tl.float32)
    c1 = n3.to(tl.float32)
    c2 = scale.to(tl.float32)
    c3 = coupled.to(tl.float32)
    c4 = n2.to(tl.float32)
    c5 = n11.to(tl.float32)
    c6 = alpha.to(tl.float32)
    c7 = n12.to(tl.float32)
    c8 = n15.to(tl.float32)
    c9 = n18.to(tl.float32)
    c10 = n19.to(tl.float32)
    e0 = w * c0
    e1 = v * c1
    e2 = g * c2
    e3 = w * c3
    e4 = e2 + e3
    e5 = AT_LEAST(e4, -5.7646073512355405e+17)
    e6 = AT_MOST(e5, 5.7646073512355405e+17)
    e7 = e6 * c4
    e8 = e1 + e7
    e9 = e8 * c5
    e10 = e6 * 1.0
    e11 = e9 + e10
    e12 = G * c6
    e13 = e6 * c7
    e14 = e13 * e6
    e15 = e12 + e14
    e16 = e15 + c8
    e17 = SQRT(e16)
    e18 = e17 * c9
    e19 = e11 / e18
    e20 = e19 * c10
    e21 = e0 + e20
    return e21, e8, e15, mu


@triton.jit
def nadam_dozat_constant_eps_in_root(lr, coupled, decoupled, gamma, alpha, eps, scale, k, mu, w, g, v, G):
    """The rule `nadam_dozat_constant_eps_in_root`."""
    n0 = lr * decoupled
    n1 = 1.0 - n0
    n2 = 1.0 - gamma
    n3 = 1.0 - n2
    n4 = k + 1.0
    n5 = POW(gamma, n4)
    n6 = 1.0 - n5
    n7 = gamma / n6
    n8 = 1.0 - gamma
    n9 = POW(gamma, k)
    n10 = 1.0 - n9
    n11 = n8 / n10
    n12 = n7 / n11
    n13 = 1.0 - alpha
    n14 = POW(alpha, k)
    n15 = 1.0 - n14
    n16 = eps * n15
    n17 = 1.0 / n11
    n18 = SQRT(n15)
    n19 = n17 / n18
    n20 = -lr
    c0 = n1.to(tl.float32)
    c1 = n3.to(tl.float32)
    c2 = scale.to(tl.float32)
    c3 = coupled.to(tl.float32)
    c4 = n2.to(tl.float32)
    c5 = n12.to(tl.float32)
    c6 = alpha.to(tl.float32)
    c7 = n13.to(tl.float32)
    c8 = n16.to(tl.float32)
    c9 = n19.to(tl.float32)
    c10 = n20.to(tl.float32)
    e0 = w * c0
    e1 = v * c1
    e2 = g * c2
    e3 = w * c3
    e4 = e2 + e3
    e5 = AT_LEAST(e4, -5.7646073512355405e+17)
    e6 = AT_MOST(e5, 5.7646073512355405e+17)
    e7 = e6 * c4
    e8 = e1 + e7
    e9 = e8 * c5
    e10 = e6 * 1.0
    e11 = e9 + e10
    e12 = G * c6
    e13 = e6 * c7
    e14 = e13 * e6
    e15 = e12 + e14
    e16 = e15 + c8
    e17 = SQRT(e16)
    e18 = e17 * c9
    e19 = e11 / e18
    e20 = e19 * c10
    e21 = e0 + e20
    return e21, e8, e15, mu


@triton.jit
def nadam_dozat_eps_in_root(lr, coupled, decoupled, gamma, alpha, eps, scale, k, mu, w, g, v, G):
    """The rule `nadam_dozat_eps_in_root`."""
    n0 = lr * decoupled
    n1 = 1.0 - n0
    n2 = 1.0 - gamma
    n3 = 1.0 - n2
    n4 = k + 1.0
    n5 = n4 * 0.004
    n6 = POW((k * 0 + 0.96), n5)
    n7 = 0.5 * n6
    n8 = 1.0 - n7
    n9 = gamma * n8
    n10 = k * 0.004
    n11 = POW((k * 0 + 0.96), n10)
    n12 = 0.5 * n11
    n13 = 1.0 - n12
    n14 = gamma * n13
    n15 = mu * n14
    n16 = n15 * n9
    n17 = 1.0 - n16
    n18 = n9 / n17
    n19 = 1.0 - n14
    n20 = 1.0 - n15
    n21 = n19 / n20
    n22 = n18 / n21
    n23 = 1.0 - alpha
    n24 = POW(alpha, k)
    n25 = 1.0 - n24
    n26 = eps * n25
    n27 = 1.0 / n21
    n28 = SQRT(n25)
    n29 = n27 / n28
    n30 = -lr
    c0 = n1.to(tl.float32)
    c1 = n3.to(tl.float32)
    c2 = scale.to(tl.float32)
    c3 = coupled.to(tl.float32)
    c4 = n2.to(tl.float32)
    c5 = n22.to(tl.float32)
    c6 = alpha.to(tl.float32)
    c7 = n23.to(tl.float32)
    c8 = n26.to(tl.float32)
    c9 = n29.to(tl.float32)
    c10 = n30.to(tl.float32)
    e0 = w * c0
    e1 = v * c1
    e2 = g * c2
    e3 = w * c3
    e4 = e2 + e3
    e5 = AT_LEAST(e4, -5.7646073512355405e+17)
    e6 = AT_MOST(e5, 5.7646073512355405e+17)
    e7 = e6 * c4
    e8 = e1 + e7
    e9 = e8 * c5
    e10 = e6 * 1.0
    e11 = e9 + e10
    e12 = G * c6
    e13 = e6 * c7
    e14 = e13 * e6
    e15 = e12 + e14
    e16 = e15 + c8
    e17 = SQRT(e16)
    e18 = e17 * c9
    e19 = e11 / e18
    e20 = e19 * c10
    e21 = e0 + e20
    return e21, e8, e15, n15


@triton.jit
def nadam_keras_eps_in_root(lr, coupled, decoupled, gamma, alpha, eps, scale, k, mu, w, g, v, G):
    """The rule `nadam_keras_eps_in_root`."""
    n0 = lr * decoupled
    n1 = 1.0 - n0
    n2 = 1.0 - gamma
    n3 = 1.0 - n2
    n4 = k + 1.0
    n5 = n4 * 1.0
    n6 = POW((k * 0 + 0.96), n5)
    n7 = 0.5 * n6
    n8 = 1.0 - n7
    n9 = gamma * n8
    n10 = k * 1.0
    n11 = POW((k * 0 + 0.96), n10)
    n12 = 0.5 * n11
    n13 = 1.0 - n12
    n14 = gamma * n13
    n15 = mu * n14
    n16 = n15 * n9
    n17 = 1.0 - n16
    n18 = n9 / n17
    n19 = 1.0 - n14
    n20 = 1.0 - n15
    n21 = n19 / n20
    n22 = n18 / n21
    n23 = 1.0 - alpha
    n24 = POW(alpha, k)
    n25 = 1.0 - n24
    n26 = eps * n25
    n27 = 1.0 / n21
    n28 = SQRT(n25)
    n29 = n27 / n28
    n30 = -lr
    c0 = n1.to(tl.float32)
    c1 = n3.to(tl.float32)
    c2 = scale.to(tl.float32)
    c3 = coupled.to(tl.float32)
    c4 = n2.to(tl.float32)
    c5 = n22.to(tl.float32)
    c6 = alpha.to(tl.float32)
    c7 = n23.to(tl.float32)
    c8 = n26.to(tl.float32)
    c9 = n29.to(tl.float32)
    c10 = n30.to(tl.float32)
    e0 = w * c0
    e1 = v * c1
    e2 = g * c2
    e3 = w * c3
    e4 = e2 + e3
    e5 = AT_LEAST(e4, -5.7646073512355405e+17)
    e6 = AT_MOST(e5, 5.7646073512355405e+17)
    e7 = e6 * c4
    e8 = e1 + e7
    e9 = e8 * c5
    e10 = e6 * 1.0
    e11 = e9 + e10
    e12 = G * c6
    e13 = e6 * c7
    e14 = e13 * e6
    e15 = e12 + e14
    e16 = e15 + c8
    e17 = SQRT(e16)
    e18 = e17 * c9
    e19 = e11 / e18
    e20 = e19 * c10
    e21 = e0 + e20
    return e21, e8, e15, n15


@triton.jit
def adagrad(lr, coupled, decoupled, gamma, alpha, eps, scale, k, mu, w, g, G):
    """The rule `adagrad`."""
    n0 = lr * decoupled
    n1 = 1.0 - n0
    n2 = eps * 1.0
    n3 = -lr
    c0 = n1.to(tl.float32)
    c1 = scale.to(tl.float32)
    c2 = coupled.to(tl.float32)
    c3 = n2.to(tl.float32)
    c4 = n3.to(tl.float32)
    e0 = w * c0
    e1 = g * c1
    e2 = w * c2
    e3 = e1 + e2
    e4 = AT_LEAST(e3, -5.7646073512355405e+17)
    e5 = AT_MOST(e4, 5.7646073512355405e+17)
    e6 = e5 * e5
    e7 = G + e6
    e8 = AT_MOST(e7, 3.4028234663852886e+38)
    e9 = SQRT(e8)
    e10 = e9 + c3
    e11 = e5 / e10
    e12 = e11 * c4
    e13 = e0 + e12
    return e13, e8, mu


@triton.jit
def rmsprop(lr, coupled, decoupled, gamma, alpha, eps, scale, k, mu, w, g, G):
    """The rule `rmsprop`."""
    n0 = lr * decoupled
    n1 = 1.0 - n0
    n2 = 1.0 - alpha
    n3 = eps * 1.0
    n4 = -lr
    c0 = n1.to(tl.float32)
    c1 = scale.to(tl.float32)
    c2 = coupled.to(tl.float32)
    c3 = alpha.to(tl.float32)
    c4 = n2.to(tl.float32)
    c5 = n3.to(tl.float32)
    c6 = n4.to(tl.float32)
    e0 = w * c0
    e1 = g * c1
    e2 = w * c2
    e3 = e1 + e2
    e4 = AT_LEAST(e3, -5.7646073512355405e+17)
    e5 = AT_MOST(e4, 5.7646073512355405e+17)
    e6 = G * c3
    e7 = e5 * c4
    e8 = e7 * e5
    e9 = e6 + e8
    e10 = SQRT(e9)
    e11 = e10 + c5
    e12 = e5 / e11
    e13 = e12 * c6
    e14 = e0 + e13
    return e14, e9, mu


@triton.jit
def adam(lr, coupled, decoupled, gamma, alpha, eps, scale, k, mu, w, g, v, G):
    """The rule `adam`."""
    n0 = lr * decoupled
    n1 = 1.0 - n0
    n2 = 1.0 - gamma
    n3 = 1.0 - n2
    n4 = 1.0 - alpha
    n5 = POW(gamma, k)
    n6 = 1.0 - n5
    n7 = POW(alpha, k)
    n8 = 1.0 - n7
    n9 = SQRT(n8)
    n10 = n6 / n9
    n11 = n6 * eps
    n12 = n11 * 1.0
    n13 = -lr
    c0 = n1.to(tl.float32)
    c1 = n3.to(tl.float32)
    c2 = scale.to(tl.float32)
    c3 = coupled.to(tl.float32)
    c4 = n2.to(tl.float32)
    c5 = alpha.to(tl.float32)
    c6 = n4.to(tl.float32)
    c7 = n10.to(tl.float32)
    c8 = n12.to(tl.float32)
    c9 = n13.to(tl.float32)
    e0 = w * c0
    e1 = v * c1
    e2 = g * c2
    e3 = w * c3
    e4 = e2 + e3
    e5 = AT_LEAST(e4, -5.7646073512355405e+17)
    e6 = AT_MOST(e5, 5.7646073512355405e+17)
    e7 = e6 * c4
    e8 = e1 + e7
    e9 = G * c5
    e10 = e6 * c6
    e11 = e10 * e6
    e12 = e9 + e11
    e13 = SQRT(e12)
    e14 = e13 * c7
    e15 = e14 + c8
    e16 = e8 / e15
    e17 = e16 * c9
    e18 = e0 + e17
    return e18, e8, e12, mu


@triton.jit
def nadam_lecture(lr, coupled, decoupled, gamma, alpha, eps, scale, k, mu, w, g, v, G):
    """The rule `nadam_lecture`."""
    n0 = lr * decoupled
    n1 = 1.0 - n0
    n2 = 1.0 - gamma
    n3 = 1.0 - n2
    n4 = POW(gamma, k)
    n5 = 1.0 - n4
    n6 = gamma / n5
    n7 = 1.0 - gamma
    n8 = POW(gamma, k)
    n9 = 1.0 - n8
    n10 = n7 / n9
    n11 = n6 / n10
    n12 = 1.0 - alpha
    n13 = 1.0 / n10
    n14 = POW(alpha, k)
    n15 = 1.0 - n14
    n16 = SQRT(n15)
    n17 = n13 / n16
    n18 = n13 * eps
    n19 = n18 * 1.0
    n20 = -lr
    c0 = n1.to(tl.float32)
    c1 = n3.to(tl.float32)
    c2 = scale.to(tl.float32)
    c3 = coupled.to(tl.float32)
    c4 = n2.to(tl.float32)
    c5 = n11.to(tl.float32)
    c6 = alpha.to(tl.float32)
    c7 = n12.to(tl.float32)
    c8 = n17.to(tl.float32)
    c9 = n19.to(tl.float32)
    c10 = n20.to(tl.float32)
    e0 = w * c0
    e1 = v * c1
    e2 = g * c2
    e3 = w * c3
    e4 = e2 + e3
    e5 = AT_LEAST(e4, -5.7646073512355405e+17)
    e6 = AT_MOST(e5, 5.7646073512355405e+17)
    e7 = e6 * c4
    e8 = e1 + e7
    e9 = e8 * c5
    e10 = e6 * 1.0
    e11 = e9 + e10
    e12 = G * c6
    e13 = e6 * c7
    e14 = e13 * e6
    e15 = e12 + e14
    e16 = SQRT(e15)
    e17 = e16 * c8
    e18 = e17 + c9
    e19 = e11 / e18
    e20 = e19 * c10
    e21 = e0 + e20
    return e21, e8, e15, mu


@triton.jit
def nadam_dozat_constant(lr, coupled, decoupled, gamma, alpha, eps, scale, k, mu, w, g, v, G):
    """The rule `nadam_dozat_constant`."""
    n0 = lr * decoupled
    n1 = 1.0 - n0
    n2 = 1.0 - gamma
    n3 = 1.0 - n2
    n4 = k + 1.0
    n5 = POW(gamma, n4)
    n6 = 1.0 - n5
    n7 = gamma / n6
    n8 = 1.0 - gamma
    n9 = POW(gamma, k)
    n10 = 1.0 - n9
    n11 = n8 / n10
    n12 = n7 / n11
    n13 = 1.0 - alpha
    n14 = 1.0 / n11
    n15 = POW(alpha, k)
    n16 = 1.0 - n15
    n17 = SQRT(n16)
    n18 = n14 / n17
    n19 = n14 * eps
    n20 = n19 * 1.0
    n21 = -lr
    c0 = n1.to(tl.float32)
    c1 = n3.to(tl.float32)
    c2 = scale.to(tl.float32)
    c3 = coupled.to(tl.float32)
    c4 = n2.to(tl.float32)
    c5 = n12.to(tl.float32)
    c6 = alpha.to(tl.float32)
    c7 = n13.to(tl.float32)
    c8 = n18.to(tl.float32)
    c9 = n20.to(tl.float32)
    c10 = n21.to(tl.float32)
    e0 = w * c0
    e1 = v * c1
    e2 = g * c2
    e3 = w * c3
    e4 = e2 + e3
    e5 = AT_LEAST(e4, -5.7646073512355405e+17)
    e6 = AT_MOST(e5, 5.7646073512355405e+17)
    e7 = e6 * c4
    e8 = e1 + e7
    e9 = e8 * c5
    e10 = e6 * 1.0
    e11 = e9 + e10
    e12 = G * c6
    e13 = e6 * c7
    e14 = e13 * e6
    e15 = e12 + e14
    e16 = SQRT(e15)
    e17 = e16 * c8
    e18 = e17 + c9
    e19 = e11 / e18
    e20 = e19 * c10
    e21 = e0 + e20
    return e21, e8, e15, mu


@triton.jit
def nadam_dozat(lr, coupled, decoupled, gamma, alpha, eps, scale, k, mu, w, g, v, G):
    """The rule `nadam_dozat`."""
    n0 = lr * decoupled
    n1 = 1.0 - n0
    n2 = 1.0 - gamma
    n3 = 1.0 - n2
    n4 = k + 1.0
    n5 = n4 * 0.004
    n6 = POW((k * 0 + 0.96), n5)
    n7 = 0.5 * n6
    n8 = 1.0 - n7
    n9 = gamma * n8
    n10 = k * 0.004
    n11 = POW((k * 0 + 0.96), n10)
    n12 = 0.5 * n11
    n13 = 1.0 - n12
    n14 = gamma * n13
    n15 = mu * n14
    n16 = n15 * n9
    n17 = 1.0 - n16
    n18 = n9 / n17
    n19 = 1.0 - n14
    n20 = 1.0 - n15
    n21 = n19 / n20
    n22 = n18 / n21
    n23 = 1.0 - alpha
    n24 = 1.0 / n21
    n25 = POW(alpha, k)
    n26 = 1.0 - n25
    n27 = SQRT(n26)
    n28 = n24 / n27
    n29 = n24 * eps
    n30 = n29 * 1.0
    n31 = -lr
    c0 = n1.to(tl.float32)
    c1 = n3.to(tl.float32)
    c2 = scale.to(tl.float32)
    c3 = coupled.to(tl.float32)
    c4 = n2.to(tl.float32)
    c5 = n22.to(tl.float32)
    c6 = alpha.to(tl.float32)
    c7 = n23.to(tl.float32)
    c8 = n28.to(tl.float32)
    c9 = n30.to(tl.float32)
    c10 = n31.to(tl.float32)
    e0 = w * c0
    e1 = v * c1
    e2 = g * c2
    e3 = w * c3
    e4 = e2 + e3
    e5 = AT_LEAST(e4, -5.7646073512355405e+17)
    e6 = AT_MOST(e5, 5.7646073512355405e+17)
    e7 = e6 * c4
    e8 = e1 + e7
    e9 = e8 * c5
    e10 = e6 * 1.0
    e11 = e9 + e10
    e12 = G * c6
    e13 = e6 * c7
    e14 = e13 * e6
    e15 = e12 + e14
    e16 = SQRT(e15)
    e17 = e16 * c8
    e18 = e17 + c9
    e19 = e11 / e18
    e20 = e19 * c10
    e21 = e0 + e20
    return e21, e8, e15, n15


@triton.jit
def nadam_keras(lr, coupled, decoupled, gamma, alpha, eps, scale, k, mu, w, g, v, G):
    """The rule `nadam_keras`."""
    n0 = lr * decoupled
    n1 = 1.0 - n0
    n2 = 1.0 - gamma
    n3 = 1.0 - n2
    n4 = k + 1.0
    n5 = n4 * 1.0
    n6 = POW((k * 0 + 0.96), n5)
    n7 = 0.5 * n6
    n8 = 1.0 - n7
    n9 = gamma * n8
    n10 = k * 1.0
    n11 = POW((k * 0 + 0.96), n10)
    n12 = 0.5 * n11
    n13 = 1.0 - n12
    n14 = gamma * n13
    n15 = mu * n14
    n16 = n15 * n9
    n17 = 1.0 - n16
    n18 = n9 / n17
    n19 = 1.0 - n14
    n20 = 1.0 - n15
    n21 = n19 / n20
    n22 = n18 / n21
    n23 = 1.0 - alpha
    n24 = 1.0 / n21
    n25 = POW(alpha, k)
    n26 = 1.0 - n25
    n27 = SQRT(n26)
    n28 = n24 / n27
    n29 = n24 * eps
    n30 = n29 * 1.0
    n31 = -lr
    c0 = n1.to(tl.float32)
    c1 = n3.to(tl.float32)
    c2 = scale.to(tl.float32)
    c3 = coupled.to(tl.float32)
    c4 = n2.to(tl.float32)
    c5 = n22.to(tl.float32)
    c6 = alpha.to(tl.float32)
    c7 = n23.to(tl.float32)
    c8 = n28.to(tl.float32)
    c9 = n30.to(tl.float32)
    c10 = n31.to(tl.float32)
    e0 = w * c0
    e1 = v * c1
    e2 = g * c2
    e3 = w * c3
    e4 = e2 + e3
    e5 = AT_LEAST(e4, -5.7646073512355405e+17)
    e6 = AT_MOST(e5, 5.7646073512355405e+17)
    e7 = e6 * c4
    e8 = e1 + e7
    e9 = e8 * c5
    e10 = e6 * 1.0
    e11 = e9 + e10
    e12 = G * c6
    e13 = e6 * c7
    e14 = e13 * e6
    e15 = e12 + e14
    e16 = SQRT(e15)
    e17 = e16 * c8
    e18 = e17 + c9
    e19 = e11 / e18
    e20 = e19 * c10
    e21 = e0 + e20
    return e21, e8, e15, n15
