# SPDX-License-Identifier: Apache-2.0
#
# The two libraries: couchstore (libcouchstore.so) and couchstore_static (libcouchstore_static.a). Each is the
# Rust library and the objects of the C++ part; rustc itself could not export C++ functions.

set(couchstore_include_dirs
  $<BUILD_INTERFACE:${CMAKE_CURRENT_SOURCE_DIR}/include>
  $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)

# The host's own libraries; not part of an installed package.
set(couchstore_host_libraries)
foreach(library IN LISTS COUCHSTORE_HOST_LIBRARIES)
  list(APPEND couchstore_host_libraries $<BUILD_INTERFACE:${library}>)
endforeach()

# A source that is written anew whenever the Rust library is, so that both libraries are made anew then.
set(couchstore_anchor "${couchstore_rust_dir}/anchor.c")
add_custom_command(
  OUTPUT "${couchstore_anchor}"
  COMMAND "${CMAKE_COMMAND}" -E copy "${CMAKE_CURRENT_SOURCE_DIR}/cmake/anchor.c" "${couchstore_anchor}"
  COMMAND "${CMAKE_COMMAND}" -E touch "${couchstore_anchor}"
  DEPENDS "${COUCHSTORE_RUST_LIBRARY}" "${CMAKE_CURRENT_SOURCE_DIR}/cmake/anchor.c"
  VERBATIM)

add_library(couchstore_objects OBJECT "${couchstore_anchor}")
if(COUCHSTORE_CXX_API)
  target_sources(couchstore_objects PRIVATE ${couchstore_cxx_sources})
endif()
target_include_directories(couchstore_objects PRIVATE
  "${CMAKE_CURRENT_SOURCE_DIR}/include" ${COUCHSTORE_HOST_INCLUDE_DIRS})
# The layouts of keys are known: the library itself needs no header of the host for them.
target_compile_definitions(couchstore_objects PRIVATE COUCHSTORE_OWN_CRYPTO_TYPES)
target_link_libraries(couchstore_objects PRIVATE ${couchstore_host_libraries})
target_compile_options(couchstore_objects PRIVATE $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra>)
# Lines for debuggers and profilers in every configuration, as Rust's part has them.
target_compile_options(couchstore_objects PRIVATE $<$<NOT:$<CONFIG:Debug,RelWithDebInfo>>:-g1>)
set_target_properties(couchstore_objects PROPERTIES
  POSITION_INDEPENDENT_CODE ON
  C_VISIBILITY_PRESET hidden
  CXX_VISIBILITY_PRESET hidden
  CXX_STANDARD 17
  CXX_STANDARD_REQUIRED ON)

# Shared. Unless it is given one, the SONAME has no version: programs built against the original library look for
# libcouchstore.so.
set(couchstore_exports "${CMAKE_CURRENT_SOURCE_DIR}/cmake/exports.map")
add_library(couchstore SHARED $<TARGET_OBJECTS:couchstore_objects>)
add_library(Couchstore::couchstore ALIAS couchstore)
target_include_directories(couchstore INTERFACE ${couchstore_include_dirs})
target_link_options(couchstore PRIVATE
  "LINKER:--version-script=${couchstore_exports}"
  LINKER:--no-undefined
  LINKER:--gc-sections
  LINKER:--build-id
  "LINKER:--whole-archive,${COUCHSTORE_RUST_LIBRARY},--no-whole-archive")
target_link_libraries(couchstore PRIVATE
  ${couchstore_host_libraries} ${COUCHSTORE_NATIVE_LIBRARIES} Threads::Threads)
set_target_properties(couchstore PROPERTIES
  LINK_DEPENDS "${couchstore_exports}"
  EXPORT_NAME couchstore)
if(COUCHSTORE_SOVERSION)
  set_target_properties(couchstore PROPERTIES VERSION "${COUCHSTORE_SOVERSION}" SOVERSION "${COUCHSTORE_SOVERSION}")
endif()

# Static. The members of the Rust library are added to the archive; what they need is linked by its users.
add_library(couchstore_static STATIC $<TARGET_OBJECTS:couchstore_objects>)
add_library(Couchstore::couchstore_static ALIAS couchstore_static)
target_include_directories(couchstore_static INTERFACE ${couchstore_include_dirs})
target_link_libraries(couchstore_static INTERFACE
  ${couchstore_host_libraries} ${COUCHSTORE_NATIVE_LIBRARIES} Threads::Threads)
# The compiler's own archiver, if there is one, loads no plug-ins of other compilers.
if(CMAKE_C_COMPILER_AR)
  set(couchstore_ar "${CMAKE_C_COMPILER_AR}")
else()
  set(couchstore_ar "${CMAKE_AR}")
endif()
add_custom_command(TARGET couchstore_static POST_BUILD
  COMMAND "${CMAKE_COMMAND}" "-DAR=${couchstore_ar}"
          "-DARCHIVE=$<TARGET_FILE:couchstore_static>" "-DADD=${COUCHSTORE_RUST_LIBRARY}"
          -P "${CMAKE_CURRENT_SOURCE_DIR}/cmake/merge_archives.cmake"
  COMMENT "Adding the Rust library to libcouchstore_static.a"
  VERBATIM)

# Both carry objects of the C++ part, so both are linked as C++ when there is one.
if(COUCHSTORE_CXX_API AND couchstore_cxx_sources)
  set_target_properties(couchstore couchstore_static PROPERTIES LINKER_LANGUAGE CXX)
else()
  set_target_properties(couchstore couchstore_static PROPERTIES LINKER_LANGUAGE C)
endif()
