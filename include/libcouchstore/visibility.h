/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Marks what libcouchstore offers to the outside.
 *
 *   LIBCOUCHSTORE_API              a function or class of the public interface (default visibility)
 *   STATIC                         the opposite: hidden (older sources use the name)
 *   COUCHSTORE_DEPRECATED          kept for old sources; its use gives a compiler warning
 *   COUCHSTORE_DEPRECATED_EXPORT,
 *   COUCHSTORE_DEPRECATED_NO_EXPORT  both at once
 *
 * The visibility is the same for the library and for its users. C++ users depend on that: the type
 * information of FileOpsInterface must be one and the same on both sides of the library's border.
 *
 * Define LIBCOUCHSTORE_NO_VISIBILITY to have LIBCOUCHSTORE_API and STATIC expand to nothing.
 */
#ifndef LIBCOUCHSTORE_API_H
#define LIBCOUCHSTORE_API_H

#ifndef LIBCOUCHSTORE_API
#if defined(__GNUC__) && !defined(LIBCOUCHSTORE_NO_VISIBILITY)
#define LIBCOUCHSTORE_API __attribute__((visibility("default")))
#else
#define LIBCOUCHSTORE_API
#endif
#endif

#ifndef STATIC
#if defined(__GNUC__) && !defined(LIBCOUCHSTORE_NO_VISIBILITY)
#define STATIC __attribute__((visibility("hidden")))
#else
#define STATIC
#endif
#endif

#ifndef COUCHSTORE_DEPRECATED
#if defined(__GNUC__)
#define COUCHSTORE_DEPRECATED __attribute__((__deprecated__))
#else
#define COUCHSTORE_DEPRECATED
#endif
#endif

#ifndef COUCHSTORE_DEPRECATED_EXPORT
#define COUCHSTORE_DEPRECATED_EXPORT LIBCOUCHSTORE_API COUCHSTORE_DEPRECATED
#endif

#ifndef COUCHSTORE_DEPRECATED_NO_EXPORT
#define COUCHSTORE_DEPRECATED_NO_EXPORT STATIC COUCHSTORE_DEPRECATED
#endif

#endif /* LIBCOUCHSTORE_API_H */
