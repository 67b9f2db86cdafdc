#include <gloo/declarations.hpp>
