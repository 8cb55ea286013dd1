# SPDX-License-Identifier: Apache-2.0
#
# Installing: libraries and headers, the CMake package Couchstore, the pkg-config files and the licences. Components:
# "runtime" (the shared library), "debug" (its debug information), "tools" (tools.cmake) and "development" (all else).
# The licences are in each of them but "debug".

include(CMakePackageConfigHelpers)
set(couchstore_package_dir "${CMAKE_INSTALL_LIBDIR}/cmake/Couchstore")

install(DIRECTORY include/libcouchstore
  DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}"
  COMPONENT development
  FILES_MATCHING PATTERN "*.h")

# Each library has an export set of its own: the package offers what is installed.
foreach(kind shared static)
  if(kind STREQUAL "shared")
    set(library couchstore)
  else()
    set(library couchstore_static)
  endif()
  install(TARGETS ${library} EXPORT Couchstore-${kind}
    LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}" COMPONENT runtime NAMELINK_COMPONENT development
    ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}" COMPONENT development)
  install(EXPORT Couchstore-${kind}
    NAMESPACE Couchstore::
    FILE Couchstore-${kind}.cmake
    DESTINATION "${couchstore_package_dir}"
    COMPONENT development)
endforeach()

include(cmake/debug_information.cmake)

configure_package_config_file(cmake/CouchstoreConfig.cmake.in CouchstoreConfig.cmake
  INSTALL_DESTINATION "${couchstore_package_dir}")
write_basic_package_version_file(CouchstoreConfigVersion.cmake COMPATIBILITY SameMajorVersion)
install(FILES
    "${CMAKE_CURRENT_BINARY_DIR}/CouchstoreConfig.cmake"
    "${CMAKE_CURRENT_BINARY_DIR}/CouchstoreConfigVersion.cmake"
  DESTINATION "${couchstore_package_dir}"
  COMPONENT development)

# Each component is a package's: it comes with the licences of what it contains. In Debian's packages there are other
# files, see debian.cmake.
set(couchstore_runtime_package couchstore)
set(couchstore_development_package couchstore-dev)
set(couchstore_tools_package couchstore-tools)
if(NOT COUCHSTORE_DEBIAN)
  set(licensed runtime development)
  if(COUCHSTORE_BUILD_TOOLS)
    list(APPEND licensed tools)
  endif()
  foreach(component IN LISTS licensed)
    install(FILES LICENSE THIRD-PARTY-LICENSES
      DESTINATION "${CMAKE_INSTALL_DATADIR}/doc/${couchstore_${component}_package}"
      COMPONENT ${component})
  endforeach()
endif()

# pkg-config. The prefix follows from where the file lies, so the tree may be moved.
if(IS_ABSOLUTE "${CMAKE_INSTALL_LIBDIR}")
  set(pc_prefix "${CMAKE_INSTALL_PREFIX}")
  set(pc_libdir "${CMAKE_INSTALL_LIBDIR}")
else()
  file(RELATIVE_PATH pc_prefix "/prefix/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/prefix")
  string(REGEX REPLACE "/$" "" pc_prefix "\${pcfiledir}/${pc_prefix}")
  set(pc_libdir "\${prefix}/${CMAKE_INSTALL_LIBDIR}")
endif()
if(IS_ABSOLUTE "${CMAKE_INSTALL_INCLUDEDIR}")
  set(pc_includedir "${CMAKE_INSTALL_INCLUDEDIR}")
else()
  set(pc_includedir "\${prefix}/${CMAKE_INSTALL_INCLUDEDIR}")
endif()
list(TRANSFORM COUCHSTORE_NATIVE_LIBRARIES PREPEND "-l" OUTPUT_VARIABLE pc_native_libs)
list(APPEND pc_native_libs -lpthread)
list(JOIN pc_native_libs " " pc_native_libs)
foreach(name couchstore couchstore-static)
  configure_file(cmake/${name}.pc.in ${name}.pc @ONLY)
  install(FILES "${CMAKE_CURRENT_BINARY_DIR}/${name}.pc"
    DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig"
    COMPONENT development)
endforeach()
