#ifndef VQA_CIMAGES_BLEND_H
#define VQA_CIMAGES_BLEND_H

#include <stdint.h>

/* value / 255 rounded, for value <= 255 * 255 (the usual shift form). */
static inline uint8_t divided_by_255(uint32_t value) {
    value += 128;
    return (uint8_t)(((value >> 8) + value) >> 8);
}

/* One channel laid over white, with the rounding of Pillow's alpha_composite: seven more bits than the
   result. */
static inline uint8_t over_white_channel(uint8_t value, uint8_t alpha) {
    uint32_t sum = (uint32_t)value * alpha * 128 + 255u * (255u - alpha) * 128 + (0x80u << 7);
    return (uint8_t)((((sum >> 8) + sum) >> 8) >> 7);
}

#endif
