import type { FileDescriptorProto } from '@bufbuild/protobuf/wkt'
import { alternative, field, fileOf, list, Type } from './fields.ts'

/** https://github.com/grpc/grpc/blob/master/doc/server-reflection.md; v1alpha is the same, and older clients ask for it alone. */
const PACKAGES = ['grpc.reflection.v1', 'grpc.reflection.v1alpha']

export const REFLECTION_SERVICES: readonly string[] = PACKAGES.map(name => `${name}.ServerReflection`)

const fileIn = (name: string): FileDescriptorProto =>
  fileOf({
    name: `${name.replaceAll('.', '/')}/reflection.proto`,
    package: name,
    messageType: [
      {
        name: 'ServerReflectionRequest',
        oneofDecl: [{ name: 'message_request' }],
        field: [
          field('host', 1, Type.STRING),
          alternative('file_by_filename', 3, Type.STRING),
          alternative('file_containing_symbol', 4, Type.STRING),
          alternative('file_containing_extension', 5, `.${name}.ExtensionRequest`),
          alternative('all_extension_numbers_of_type', 6, Type.STRING),
          alternative('list_services', 7, Type.STRING),
        ],
      },
      { name: 'ExtensionRequest', field: [field('containing_type', 1, Type.STRING), field('extension_number', 2, Type.INT32)] },
      {
        name: 'ServerReflectionResponse',
        oneofDecl: [{ name: 'message_response' }],
        field: [
          field('valid_host', 1, Type.STRING),
          field('original_request', 2, Type.MESSAGE, { typeName: `.${name}.ServerReflectionRequest` }),
          alternative('file_descriptor_response', 4, `.${name}.FileDescriptorResponse`),
          alternative('all_extension_numbers_response', 5, `.${name}.ExtensionNumberResponse`),
          alternative('list_services_response', 6, `.${name}.ListServiceResponse`),
          alternative('error_response', 7, `.${name}.ErrorResponse`),
        ],
      },
      { name: 'FileDescriptorResponse', field: [list('file_descriptor_proto', 1, Type.BYTES)] },
      { name: 'ExtensionNumberResponse', field: [field('base_type_name', 1, Type.STRING), list('extension_number', 2, Type.INT32)] },
      { name: 'ListServiceResponse', field: [list('service', 1, `.${name}.ServiceResponse`)] },
      { name: 'ServiceResponse', field: [field('name', 1, Type.STRING)] },
      { name: 'ErrorResponse', field: [field('error_code', 1, Type.INT32), field('error_message', 2, Type.STRING)] },
    ],
    service: [
      {
        name: 'ServerReflection',
        method: [
          {
            name: 'ServerReflectionInfo',
            inputType: `.${name}.ServerReflectionRequest`,
            outputType: `.${name}.ServerReflectionResponse`,
            clientStreaming: true,
            serverStreaming: true,
          },
        ],
      },
    ],
  })

export const REFLECTION_FILES: readonly FileDescriptorProto[] = PACKAGES.map(fileIn)
