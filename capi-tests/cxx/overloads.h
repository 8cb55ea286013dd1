// SPDX-License-Identifier: Apache-2.0
//
// What the exported functions of overloads_library.cc remember of the last call.
#pragma once

#include <libcouchstore/couch_db.h>

enum class Form { None, Old, New, PointInTime };

inline Form called = Form::None;
inline const void *calledOps = nullptr;
inline couchstore_compact_hook calledHook = nullptr;
