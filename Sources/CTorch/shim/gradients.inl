// The pieces of layers whose gradients are ours, for one instruction set; a part of kernels.inl.

/// `rows` rows and `vectors` registers of c += a b.
template <int rows, int vectors>
INLINE void multiplyTile(const float *a, int64_t aRow, int64_t aColumn, const float *b, int64_t bRow, float *c,
                         int64_t cRow, int64_t inner) {
    Floats total[rows][vectors];
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < vectors; j++) total[i][j] = load<Floats>(c + i * cRow + j * WIDTH);
    for (int64_t k = 0; k < inner; k++, a += aColumn, b += bRow) {
        Floats right[vectors];
        for (int j = 0; j < vectors; j++) right[j] = load<Floats>(b + j * WIDTH);
        for (int i = 0; i < rows; i++) {
            Floats left = spread(a[i * aRow]);
            for (int j = 0; j < vectors; j++) total[i][j] += left * right[j];
        }
    }
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < vectors; j++) store(c + i * cRow + j * WIDTH, total[i][j]);
}

template <int rows>
INLINE void multiplyRows(const float *a, int64_t aRow, int64_t aColumn, const float *b, int64_t bRow, float *c,
                         int64_t cRow, int64_t inner, int64_t n) {
    int64_t j = 0;
    for (; j + 2 * WIDTH <= n; j += 2 * WIDTH)
        multiplyTile<rows, 2>(a, aRow, aColumn, b + j, bRow, c + j, cRow, inner);
    for (; j < n; j += WIDTH) multiplyTile<rows, 1>(a, aRow, aColumn, b + j, bRow, c + j, cRow, inner);
}

static void multiply(const float *a, int64_t aRow, int64_t aColumn, const float *b, int64_t bRow, float *c,
                     int64_t cRow, int64_t m, int64_t inner, int64_t n) {
    int64_t i = 0;
    for (; i + 4 <= m; i += 4)
        multiplyRows<4>(a + i * aRow, aRow, aColumn, b, bRow, c + i * cRow, cRow, inner, n);
    for (; i < m; i++) multiplyRows<1>(a + i * aRow, aRow, aColumn, b, bRow, c + i * cRow, cRow, inner, n);
}

static void softmax(float *scores, const float *mask, int64_t n, float scale) {
    constexpr float nothing = -__builtin_inff();
    Floats largest = spread(nothing);
    for (int64_t j = 0; j < n; j += WIDTH) {
        Floats score = load<Floats>(scores + j) * scale + load<Floats>(mask + j);
        store(scores + j, score);
        largest = score > largest ? score : largest;
    }
    float most = largest[0];
    for (int lane = 1; lane < WIDTH; lane++) most = largest[lane] > most ? largest[lane] : most;
    // Of a row that sees nothing, nothing is taken; a number that is none stays none.
    Floats total = {}, origin = spread(most == nothing ? 0 : most);
    for (int64_t j = 0; j < n; j += WIDTH) {
        Floats x = load<Floats>(scores + j) - origin;
        Floats weight = exponential(x);
        weight = x < -87.0f ? Floats{} : weight;
        weight = x == x ? weight : x;
        store(scores + j, weight);
        total += weight;
    }
    float all = sum(total), share = all == 0 ? 0 : 1 / all;
    for (int64_t j = 0; j < n; j += WIDTH) store(scores + j, load<Floats>(scores + j) * share);
}

static void softmaxGradient(const float *weights, float *gradient, int64_t n, float scale) {
    Floats total = {};
    for (int64_t j = 0; j < n; j += WIDTH) total += load<Floats>(weights + j) * load<Floats>(gradient + j);
    float mean = sum(total);
    for (int64_t j = 0; j < n; j += WIDTH)
        store(gradient + j, load<Floats>(weights + j) * (load<Floats>(gradient + j) - mean) * scale);
}

static void rmsNormGradient(const float *x, const float *weight, const float *gradient, int64_t n, float epsilon,
                            float *towardsX, float *towardsWeight) {
    Floats squares = {}, products = {};
    int64_t i = 0;
    for (; i + WIDTH <= n; i += WIDTH) {
        Floats value = load<Floats>(x + i);
        squares += value * value;
        products += value * load<Floats>(weight + i) * load<Floats>(gradient + i);
    }
    float square = sum(squares), product = sum(products);
    for (; i < n; i++) {
        square += x[i] * x[i];
        product += x[i] * weight[i] * gradient[i];
    }
    float count = static_cast<float>(n), factor = 1 / __builtin_sqrtf(square / count + epsilon);
    float share = product / count * factor * factor;
    for (i = 0; i < n; i++) towardsX[i] = (weight[i] * gradient[i] - x[i] * share) * factor;
    if (towardsWeight == nullptr) return;
    for (i = 0; i < n; i++) towardsWeight[i] += x[i] * factor * gradient[i];
}

INLINE void siluMultiplyGradientOf(Floats gate, Floats up, Floats gradient, Floats *towardsGate, Floats *towardsUp) {
    Floats open = 1.0f / (exponential(-gate) + 1.0f);
    *towardsGate = gradient * up * open * ((1.0f - open) * gate + 1.0f);
    *towardsUp = gradient * gate * open;
}

static void siluMultiplyGradient(const float *gate, const float *up, const float *gradient, int64_t n,
                                 float *towardsGate, float *towardsUp) {
    Floats first, second;
    int64_t i = 0;
    for (; i + WIDTH <= n; i += WIDTH) {
        siluMultiplyGradientOf(load<Floats>(gate + i), load<Floats>(up + i), load<Floats>(gradient + i), &first,
                               &second);
        store(towardsGate + i, first);
        store(towardsUp + i, second);
    }
    for (; i < n; i++) {
        siluMultiplyGradientOf(spread(gate[i]), spread(up[i]), spread(gradient[i]), &first, &second);
        towardsGate[i] = first[0];
        towardsUp[i] = second[0];
    }
}
