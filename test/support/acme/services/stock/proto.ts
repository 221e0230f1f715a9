import type { ProtoNumbers } from '@fairlead/chassis'

/** Written by npx fairlead proto: what a number was given to once keeps it. */
export const stockProto = {
  methods: ['ListItems', 'GetItem', 'Reserve', 'Release'],
  messages: {
    ListItemsRequest: {},
    ListItemsResponse: { ok: [1, 'google.protobuf.Empty'] },
    GetItemRequest: { sku: [1, 'string'] },
    GetItemResponse: { ok: [1, 'google.protobuf.Empty'] },
    ReserveRequest: { id: [1, 'string'], sku: [2, 'string'] },
    ReserveOk: { left: [1, 'int64'] },
    ReserveResponse: { ok: [1, 'ReserveOk'] },
    ReleaseRequest: { id: [1, 'string'] },
    ReleaseResponse: { ok: [1, 'google.protobuf.Empty'] },
  },
  enums: {},
} as const satisfies ProtoNumbers
